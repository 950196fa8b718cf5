"""Files and folders as corpora: what is read, split, dropped and refused."""

import csv
import json
import re

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from helix_jax.errors import CorpusError
from helix_jax.text.corpora import NAMES, load_corpus
from helix_jax.text.corpus import require_labels
from helix_jax.text.docstrings import CLASSES, read_docstrings
from helix_jax.text.hashing import document_of, split_of

RECORDS = [
    {"text": f'Text number {i}, with "quotes", an é and a\nbreak.', "label": i % 3}
    for i in range(300)
]


def _write(path, records):
    """Write records in the format of the suffix, with a writer that is not ours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(r) + "\n" for r in records), "utf-8")
    elif path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path)
    elif path.suffix == ".csv":
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(records[0]))
            writer.writeheader()
            writer.writerows(records)
    else:
        rows = [list(records[0]), *(list(map(str, r.values())) for r in records)]
        path.write_text("".join("\t".join(row) + "\n" for row in rows), "utf-8")
    return str(path)


def _texts(corpus):
    return [text for split in corpus.splits for text in corpus.read(split)]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv", "parquet"])
def test_every_format_gives_the_same_corpus(tmp_path, suffix):
    records = RECORDS
    if suffix == "tsv":  # one line a row
        records = [{**r, "text": r["text"].replace("\n", " ")} for r in RECORDS]
    corpus = load_corpus(_write(tmp_path / f"it.{suffix}", records))
    assert (corpus.name, corpus.classes) == ("it", ("0", "1", "2"))
    texts = {text.id: text for text in _texts(corpus)}
    assert len(texts) == len(records)
    for i, record in enumerate(records):
        assert texts[f"it/{i}"] == (f"it/{i}", record["text"], record["label"])
    for split in ("fit", "select", "test"):
        found = list(corpus.read(split))
        assert all(split_of(text.id) == split for text in found)
        assert len(found) == corpus.counts[split]
        assert corpus.labels(split).tolist() == [text.label for text in found]


def test_formats_agree_on_the_fingerprint_and_content_changes_it(tmp_path):
    made = {
        suffix: load_corpus(_write(tmp_path / suffix / f"it.{suffix}", RECORDS))
        for suffix in ("jsonl", "parquet")
    }
    assert made["jsonl"].fingerprint == made["parquet"].fingerprint
    changed = [*RECORDS[:-1], {**RECORDS[-1], "text": "another"}]
    other = load_corpus(_write(tmp_path / "it.jsonl", changed))
    assert other.fingerprint["sha256"] != made["jsonl"].fingerprint["sha256"]
    relabelled = [*RECORDS[:-1], {**RECORDS[-1], "label": 0}]
    other = load_corpus(_write(tmp_path / "it.jsonl", relabelled))
    assert other.fingerprint["sha256"] != made["jsonl"].fingerprint["sha256"]


def test_columns_are_found_by_custom_or_flag(tmp_path):
    records = [
        {"key": f"d{i // 2}#{i}", "first": f"one {i}", "second": f"two {i}", "kind": k}
        for i, k in enumerate(["yes", "no"] * 30)
    ]
    path = _write(tmp_path / "it.csv", records)
    corpus = load_corpus(
        path,
        text_column="first",
        pair_column="second",
        label_column="kind",
        id_column="key",
    )
    assert corpus.classes == ("no", "yes")
    text = _texts(corpus)[0]
    number = int(text.id.split("#")[1])
    assert text.text == f"one {number}\ntwo {number}"
    assert corpus.classes[text.label] == records[number]["kind"]
    by_document = {}
    for split in corpus.splits:
        for text in corpus.read(split):
            by_document.setdefault(document_of(text.id), set()).add(split)
    assert len(by_document) == 30
    assert all(len(splits) == 1 for splits in by_document.values())


def test_pairs_share_a_document_when_they_share_the_first_text(tmp_path):
    records = [
        {"premise": f"Premise {i % 40}", "hypothesis": f"Claim {i}", "label": i % 2}
        for i in range(120)
    ]
    corpus = load_corpus(_write(tmp_path / "nli.jsonl", records))
    where = {}
    for split in corpus.splits:
        for text in corpus.read(split):
            premise, _ = text.text.split("\n")
            where.setdefault((premise, document_of(text.id)), set()).add(split)
    assert len(where) == 40
    assert all(len(splits) == 1 for splits in where.values())


def test_official_splits_duplicates_and_shared_documents(tmp_path):
    def record(document, i, text):
        return {"text": text, "label": i % 2, "id": f"{document}#{i}"}

    train = [record(f"a{i}", i, f"train text {i}") for i in range(200)]
    train += [record("b1", 1000, "Test  TEXT 1")]  # in the test up to case and space
    train += [record("c3", 1001, "of a document of the test")]
    train += [record("a0", 1002, "train text 7")]
    test = [record(f"c{i}", i, f"test text {i}") for i in range(50)]
    _write(tmp_path / "set" / "train.jsonl", train)
    _write(tmp_path / "set" / "test.jsonl", test)
    corpus = load_corpus(str(tmp_path / "set"), id_column="id")
    assert corpus.counts["test"] == 50
    assert corpus.counts["duplicates"] == 2
    assert corpus.counts["shared_documents"] == 1
    assert corpus.counts["fit"] + corpus.counts["select"] == 200
    assert 5 < corpus.counts["select"] < 40
    ids = {split: {text.id for text in corpus.read(split)} for split in corpus.splits}
    assert ids["test"] == {f"c{i}#{i}" for i in range(50)}
    assert not {"b1#1000", "c3#1001", "a0#1002"} & (ids["fit"] | ids["select"])


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["train", "dev"], {"train": {"fit", "select"}, "dev": {"test"}}),
        (["train", "test"], {"train": {"fit", "select"}, "test": {"test"}}),
        (["validation", "test"], {"validation": {"fit", "select"}, "test": {"test"}}),
        (
            ["train", "valid", "test"],
            {"train": {"fit"}, "valid": {"select"}, "test": {"test"}},
        ),
        (["dev_matched"], {"dev_matched": {"fit", "select", "test"}}),
        (
            ["train-00000-of-00002", "train-00001-of-00002", "val"],
            {
                "train-00000-of-00002": {"fit", "select"},
                "train-00001-of-00002": {"fit", "select"},
                "val": {"test"},
            },
        ),
    ],
)
def test_roles_of_official_splits(tmp_path, names, expected):
    for name in names:
        records = [{"text": f"{name} {i}"} for i in range(150)]
        _write(tmp_path / "set" / f"{name}.parquet", records)
    corpus = load_corpus(str(tmp_path / "set"))
    found = {name: set() for name in names}
    for split in corpus.splits:
        for text in corpus.read(split):
            found[text.id.split("/")[1]].add(split)
    assert found == expected


def test_class_names_come_from_labels_txt(tmp_path):
    named = [{"text": f"t{i}", "label": ["ham", "spam"][i % 2]} for i in range(40)]
    numbered = [{"text": f"t{i}", "label": i % 2} for i in range(40)]
    for records in (named, numbered):
        _write(tmp_path / "set" / "train.jsonl", records)
        (tmp_path / "set" / "labels.txt").write_text("ham\nspam\neggs\n")
        corpus = load_corpus(str(tmp_path / "set"))
        assert corpus.classes == ("ham", "spam", "eggs")
        assert all(text.label == int(text.text[1:]) % 2 for text in _texts(corpus))
    (tmp_path / "set" / "labels.txt").write_text("ham\n")
    with pytest.raises(CorpusError, match=r"train.jsonl, row 2: label 1 is not one of"):
        load_corpus(str(tmp_path / "set"))


def test_integers_with_gaps_are_ranked_and_fractions_are_scores(tmp_path):
    gaps = [{"text": f"t{i}", "label": [10, 2, 7][i % 3]} for i in range(60)]
    corpus = load_corpus(_write(tmp_path / "it.jsonl", gaps))
    assert corpus.classes == ("2", "7", "10")
    scores = [{"text": f"t{i}", "label": i / 4} for i in range(60)]
    for suffix in ("jsonl", "csv"):
        corpus = load_corpus(_write(tmp_path / f"it.{suffix}", scores))
        assert corpus.classes is None
        expected = [int(text.text[1:]) / 4 for text in corpus.read("fit")]
        assert corpus.scores("fit").tolist() == expected
        assert next(corpus.read("fit")).label is None
        with pytest.raises(CorpusError, match=r"needs class .* has scores"):
            require_labels(corpus)


def test_limit_keeps_a_share_of_every_split_and_class(tmp_path):
    ordered = [{"text": f"t{i}", "label": i // 1000} for i in range(4000)]
    path = _write(tmp_path / "it.jsonl", ordered)
    corpus, whole = load_corpus(path, limit=400), load_corpus(path)
    assert len(_texts(corpus)) == 400
    assert corpus.counts["beyond_limit"] == 3600
    labels = np.concatenate([corpus.labels(split) for split in corpus.splits])
    assert np.bincount(labels, minlength=4).min() > 60
    for split, share in (("fit", 0.8), ("select", 0.1), ("test", 0.1)):
        assert abs(corpus.counts[split] / 400 - share) < 0.06
        ids = {text.id for text in corpus.read(split)}
        assert ids < {text.id for text in whole.read(split)}
    assert corpus.fingerprint != whole.fingerprint
    with pytest.raises(CorpusError, match="limit must be at least 1, got 0"):
        load_corpus(path, limit=0)


def test_limit_leaves_a_tenth_of_a_small_test_file(tmp_path):
    for name, count in (("train", 5000), ("test", 60)):
        rows = [{"text": f"{name} {i}", "label": i % 2} for i in range(count)]
        _write(tmp_path / f"{name}.jsonl", rows)
    small, large = (load_corpus(tmp_path, limit=limit) for limit in (400, 3000))
    assert [small.counts["test"], large.counts["test"]] == [40, 60]
    assert sum(small.counts[split] for split in small.splits) == 400
    for split in small.splits:  # what a lower limit takes, a higher one takes too
        ids = {text.id for text in small.read(split)}
        assert ids <= {text.id for text in large.read(split)}


def test_reading_is_repeatable_and_notices_a_changed_file(tmp_path):
    path = _write(tmp_path / "it.jsonl", RECORDS)
    corpus = load_corpus(path)
    assert list(corpus.read("fit")) == list(corpus.read("fit"))
    _write(tmp_path / "it.jsonl", RECORDS[::-1])
    with pytest.raises(CorpusError, match=r"it.jsonl: has changed since corpus 'it'"):
        list(corpus.read("fit"))
    _write(tmp_path / "it.jsonl", [*RECORDS, {"text": "one more", "label": 0}])
    with pytest.raises(CorpusError, match="has changed since"):
        list(corpus.read("fit"))
    _write(tmp_path / "it.jsonl", RECORDS[:-1])
    with pytest.raises(CorpusError, match="has changed since"):
        list(corpus.read("fit"))


def test_joined_corpora_keep_their_splits_and_lose_their_labels(tmp_path):
    first = _write(tmp_path / "one.jsonl", RECORDS[:200])
    second = _write(tmp_path / "two.csv", RECORDS[100:])
    (tmp_path / "book.txt").write_text("A line of a book that is short.\n\n" * 4000)
    joined = load_corpus(f"{first},{second},{tmp_path / 'book.txt'}")
    assert joined.name == "one+two+book"
    assert joined.classes is None
    assert joined.counts["duplicates"] >= 100
    alone = load_corpus(first)
    for split in alone.splits:
        mine = {text.id for text in joined.read(split) if text.id.startswith("one/")}
        assert mine <= {text.id for text in alone.read(split)}
    assert all(text.label is None for text in _texts(joined))
    with pytest.raises(CorpusError, match=r"needs class .* has no labels"):
        require_labels(joined)


@pytest.mark.slow
def test_docstrings_by_name():
    corpus = load_corpus("docstrings")
    assert corpus.classes == CLASSES == require_labels(corpus)
    assert sum(corpus.counts[split] for split in corpus.splits) == len(
        read_docstrings()
    )
    for split in corpus.splits:
        for text in corpus.read(split):
            assert split_of(text.id) == split
            assert CLASSES[text.label] == text.id.split("/")[0]
    assert set(corpus.fingerprint["origin"]["docstrings"]["versions"]) == set(CLASSES)
    with pytest.raises(CorpusError, match=r"has no columns; leave out \['text_column"):
        load_corpus("docstrings", text_column="text")


@pytest.mark.parametrize(
    ("name", "classes", "test", "dropped"),
    [
        ("sst2", 2, 872, 371),
        ("trec", 6, 500, 83),
        ("ag_news", 4, 7600, 2),
        ("dbpedia", 14, 5000, 1),
        ("mrpc", 2, 1725, 0),
        ("rte", 2, 277, 32),
        ("mnli", 3, None, 0),
    ],
)
def test_shared_tasks(shared, name, classes, test, dropped):
    """Rows in equal rows out, up to duplicates counted independently beforehand."""
    corpus = load_corpus(str(shared / "data" / name))
    assert len(require_labels(corpus)) == classes
    counts = corpus.counts
    assert counts["duplicates"] + counts["shared_documents"] == dropped
    rows = 0
    for path in (shared / "data" / name).glob("*.jsonl"):
        with open(path, encoding="utf-8") as lines:
            rows += sum(1 for line in lines if line.strip())
    texts = _texts(corpus)
    assert len(texts) == rows - dropped
    if test is not None:
        assert counts["test"] == test
    folded = {" ".join(text.text.lower().split()) for text in texts}
    assert len(folded) == len(texts)
    documents = {
        split: {document_of(text.id) for text in corpus.read(split)}
        for split in corpus.splits
    }
    assert not documents["test"] & (documents["fit"] | documents["select"])
    assert not documents["select"] & documents["fit"]


def test_unknown_names_list_what_there_is(tmp_path):
    with pytest.raises(CorpusError) as caught:
        load_corpus("sst-2")
    for name in (*NAMES, "owner/name", "labels.txt", ".parquet", "joined by commas"):
        assert name in str(caught.value)
    for name in ("data/nothing.csv", str(tmp_path / "nothing"), "./nothing"):
        with pytest.raises(CorpusError, match=f"{re.escape(name)}.*no such corpus"):
            load_corpus(name)
    with pytest.raises(CorpusError, match="no corpus named"):
        load_corpus("")
    path = _write(tmp_path / "it.jsonl", RECORDS)
    with pytest.raises(CorpusError, match="revision='main' is for data sets of the"):
        load_corpus(path, revision="main")


def _bad(name, content, message, **flags):
    return pytest.param(name, content, message, flags, id=message[:40])


@pytest.mark.parametrize(
    ("name", "content", "message", "flags"),
    [
        _bad("it.jsonl", "", r"it.jsonl: the file is empty"),
        _bad("it.csv", "", r"it.csv: the file is empty"),
        _bad("it.csv", "text,label\n", r"it.csv: the file is empty; it holds no rec"),
        _bad("it.txt", " \n\n", r"it.txt: no rows; the source is empty"),
        _bad("it.csv", "a,b\n1,2\n", r"columns found: 'a', 'b'\. Name it with text_co"),
        _bad(
            "it.csv",
            "text,b\n1,2\n",
            r"label_column='c' is not a column; columns found: 'text', 'b'",
            label_column="c",
        ),
        _bad(
            "it.csv",
            "text,b\n1,2\n",
            r"pair_column='b' needs text_column too",
            pair_column="b",
        ),
        _bad("it.csv", "text,text\n1,2\n", r"header repeats a column"),
        _bad("it.csv", "text,b\n1,2\n3\n", r"it.csv, line 3: 1 fields where the heade"),
        _bad("it.csv", 'text\n"open\n', r"it.csv, line \d: malformed CSV"),
        _bad(
            "it.jsonl",
            '{"text": "a"}\n{"text": "b"\n',
            r"it.jsonl, line 2: malformed JSON: .* at column \d+\. Each line must be",
        ),
        _bad("it.jsonl", '["a"]\n', r"line 1: expected a JSON object .* found list"),
        _bad(
            "it.jsonl",
            '{"text": "a"}\n{"body": "b"}\n',
            r"line 2: no column 'text'; columns found: 'body'",
        ),
        _bad("it.jsonl", '{"text": 3}\n', r"line 1: column 'text' should hold text, f"),
        _bad(
            "it.jsonl", '{"text": " "}\n{"text": null}\n', r"all 2 rows have an empty"
        ),
        _bad(
            "it.jsonl",
            '{"text": "a", "label": "x"}\n{"text": "b", "label": 4}\n',
            r"labels of mixed kinds: .*1 has the text 'x', .*row 2 has the number 4",
        ),
        _bad(
            "it.jsonl",
            '{"text": "a", "label": 1}\n{"text": "b", "label": -1}\n',
            r"it.jsonl, row 2 has no label .*row 1 has 1\. Label every row",
        ),
        _bad("it.jsonl", '{"text": "a", "label": [1]}\n', r"should hold a class name"),
        _bad("it.jsonl", '{"text": "a", "label": NaN}\n', r"finite score, found nan"),
        _bad(
            "it.csv",
            "text,key\na,x\nb,y\nc,x\n",
            r"id 'x' occurs twice: .*it.csv, row 1 and .*it.csv, row 3",
            id_column="key",
        ),
        _bad(
            "it.csv",
            "text,key\na,x\nb,\n",
            r"line 3: no value in id column 'key'",
            id_column="key",
        ),
        _bad("it.json", "{}", r"cannot read '.json'; text comes from .csv, .tsv"),
        _bad("it.parquet", "nonsense", r"it.parquet: not a readable Parquet file"),
        _bad("it.txt", "words", r"a .txt file has no columns", text_column="text"),
    ],
)
def test_bad_files_are_named(tmp_path, name, content, message, flags):
    (tmp_path / name).write_text(content)
    with pytest.raises(CorpusError, match=f"(?s){message}"):
        load_corpus(str(tmp_path / name), **flags)


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv", "txt"])
def test_text_that_is_not_utf8_is_named(tmp_path, suffix):
    path = tmp_path / f"it.{suffix}"
    path.write_bytes('text\n{"text": "caf\xe9"}\n'.encode("latin1"))
    with pytest.raises(CorpusError, match=r"not UTF-8 \(.*byte 0xe9\); convert it"):
        load_corpus(str(path))


def test_byte_order_marks_and_surrogates_do_no_harm(tmp_path):
    path = tmp_path / "it.csv"
    path.write_bytes("\ufefftext,label\nworte,a\nw\u00f6rter,b\n".encode())
    corpus = load_corpus(str(path))
    assert {text.text for text in _texts(corpus)} == {"worte", "w\u00f6rter"}
    path = tmp_path / "it.jsonl"
    path.write_text('{"text": "half \\ud83d of a pair"}\n')
    (text,) = _texts(load_corpus(str(path)))
    assert text.text == "half ? of a pair"


def test_one_class_and_empty_splits_are_refused_where_they_matter(tmp_path):
    same = [{"text": f"t{i}", "label": "only"} for i in range(50)]
    corpus = load_corpus(_write(tmp_path / "it.jsonl", same))
    with pytest.raises(CorpusError, match=r"all \d+ texts of the fit split .* 'only'"):
        require_labels(corpus)
    unlabelled = load_corpus(_write(tmp_path / "it.jsonl", [{"text": "alone"}]))
    (split,) = unlabelled.splits
    with pytest.raises(CorpusError, match="Name the column with label_column"):
        require_labels(unlabelled)
    empty = next(s for s in ("fit", "select", "test") if s != split)
    with pytest.raises(CorpusError, match=f"no texts in split '{empty}' .*{split}: 1"):
        unlabelled.read(empty)
    with pytest.raises(CorpusError, match="unknown split 'train'; splits are fit, sel"):
        unlabelled.read("train")
    with pytest.raises(CorpusError, match="has no scores"):
        unlabelled.scores(split)


def test_folders_that_are_not_corpora_are_named(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    with pytest.raises(CorpusError, match=r"expected files named after .* found noth"):
        load_corpus(str(folder))
    _write(folder / "train.jsonl", RECORDS)
    _write(folder / "extra.jsonl", RECORDS)
    with pytest.raises(CorpusError, match=r"Not a split: extra.jsonl"):
        load_corpus(str(folder))
    (folder / "extra.jsonl").unlink()
    _write(folder / "train.csv", RECORDS)
    with pytest.raises(CorpusError, match=r"split 'train' exists in several formats"):
        load_corpus(str(folder))


def test_names_with_commas_may_be_paths(tmp_path):
    path = _write(tmp_path / "a,b.jsonl", RECORDS)
    assert load_corpus(path).name == "a,b"
    other = _write(tmp_path / "other" / "c,,d.jsonl", RECORDS[:5])
    single = _write(tmp_path / "e.jsonl", [{"text": "alone"}])
    joined = load_corpus(f"{path},{other},{single}")
    assert joined.name == "a,b+c,,d+e"
    assert joined.counts["duplicates"] == 5
    with pytest.raises(CorpusError, match=r"^'b.jsonl': no such corpus"):
        load_corpus(f"{single},b.jsonl")


def test_many_files_can_be_joined(tmp_path):
    """More characters than a file name may have."""
    paths = [
        _write(tmp_path / f"part-{i:03d}-{'x' * 40}.jsonl", [{"text": f"text {i}"}])
        for i in range(40)
    ]
    assert len(_texts(load_corpus(",".join(paths)))) == 40
    assert len(_texts(load_corpus(tmp_path / f"part-000-{'x' * 40}.jsonl"))) == 1


def test_joining_files_of_equal_name_is_refused(tmp_path):
    one = _write(tmp_path / "a" / "it.jsonl", RECORDS)
    two = _write(tmp_path / "b" / "it.jsonl", RECORDS)
    with pytest.raises(CorpusError, match=r"id 'it/0' occurs twice.*equal name cannot"):
        load_corpus(f"{one},{two}")


@pytest.mark.parametrize(
    "joined", ["docstrings,", ",docstrings", "docstrings, ,topics"]
)
def test_a_name_that_is_empty_is_not_passed_over(joined):
    with pytest.raises(CorpusError, match="a name is empty"):
        load_corpus(joined, limit=10)
