"""Ids are kept as they are given, names are cut only where helix_jax joined them."""

import json

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from helix_jax.errors import CorpusError
from helix_jax.text.corpora import load_corpus
from helix_jax.text.hashing import document_of
from helix_jax.text.ids import name_in_id
from helix_jax.text.rows import Row
from helix_jax.text.scan import row_digest

ROWS = [{"text": f"Text {i}.", "label": i % 2} for i in range(300)]


def _jsonl(path, rows):
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


def _ids(corpus):
    return {text.id for split in corpus.splits for text in corpus.read(split)}


def _has_shares(corpus, total):
    shares = {"fit": 0.8, "select": 0.1, "test": 0.1}
    return all(
        abs(corpus.counts[split] / total - share) < 0.06
        for split, share in shares.items()
    )


@pytest.mark.parametrize(
    "name", ["task#7", "#", "a#b#c", "a%23b", "C#", "a#b,c", "50%#", "a@1#2:x=y--z+w"]
)
def test_marks_in_a_file_name_do_not_make_one_document(tmp_path, name):
    corpus = load_corpus(_jsonl(tmp_path / f"{name}.jsonl", ROWS))
    assert corpus.name == name
    assert len({document_of(one) for one in _ids(corpus)}) == len(ROWS)
    assert _has_shares(corpus, len(ROWS))


def test_marks_in_names_of_folders_splits_pairs_and_running_text(tmp_path):
    _jsonl(tmp_path / "set#1" / "train_#2.jsonl", ROWS)
    folder = load_corpus(tmp_path / "set#1")
    assert len({document_of(one) for one in _ids(folder)}) == len(ROWS)
    assert _has_shares(folder, len(ROWS))

    pairs = [{"text_a": f"A {i // 2}", "text_b": f"B {i}"} for i in range(300)]
    corpus = load_corpus(_jsonl(tmp_path / "pair#1.jsonl", pairs))
    assert len({document_of(one) for one in _ids(corpus)}) == 150

    (tmp_path / "book#1.txt").write_text(
        "".join(f"= Chapter {i} =\n\n{'word ' * 60}{i}\n\n" for i in range(100))
    )
    book = load_corpus(tmp_path / "book#1.txt")
    assert len({document_of(one) for one in _ids(book)}) == 100


def test_names_in_ids_stay_distinct():
    names = ["a#b", "a%23b", "a%2523b", "a%25b", "a%b", "a%", "%#", "%%23", "%2#"]
    assert len({name_in_id(name) for name in names}) == len(names)
    assert not any("#" in name_in_id(name) for name in names)
    ordinary = ["100% of it", "a+x=y - b", "a/b", "%2", "caf\u00e9", "%20"]
    assert [name_in_id(name) for name in ordinary] == ordinary


def test_given_ids_are_documents_and_parts_as_documented(tmp_path):
    rows = [{**row, "id": f"d{i // 3}#{i}"} for i, row in enumerate(ROWS)]
    corpus = load_corpus(_jsonl(tmp_path / "it.jsonl", rows), id_column="id")
    assert _ids(corpus) == {row["id"] for row in rows}
    assert len({document_of(one) for one in _ids(corpus)}) == 100


@pytest.mark.parametrize(
    "ids",
    [
        [2**53, 2**53 + 1],
        [2**63 - 1, 2**63],
        ["1", "01", "1.0", " 1", "1 ", "1\n"],
        ["\u00e9", "e\u0301", "E\u0301"],
        ["a\u2028", "a\x85", "a\x1c", "a\0", "a"],
        ["\ufeffa", "a"],
    ],
)
def test_ids_that_differ_stay_apart(tmp_path, ids):
    rows = [{"text": f"Text {i}.", "key": one} for i, one in enumerate(ids)]
    path = tmp_path / "it.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows[:1]), path)
    kind = pyarrow.uint64() if ids[-1] == 2**63 else None
    columns = {"text": [row["text"] for row in rows], "key": pyarrow.array(ids, kind)}
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    for one in (_jsonl(tmp_path / "it.jsonl", rows), path):
        assert _ids(load_corpus(one, id_column="key")) == set(map(str, ids))


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (1.0, r"line 2: an id must be a string or an integer, found 1\.0 \(float\)"),
        (True, r"line 2: an id must be a string or an integer, found True \(bool\)"),
        ([1], r"line 2: an id must be .* found \[1\] \(list\); write the ids as str"),
        ({"a": 1}, r"line 2: an id must be .* \(dict\)"),
        ("\ud83d", r"line 2: the id '\\ud83d' holds half of a surrogate pair"),
        (None, r"line 2: no value in id column"),
        (7, r"id '7' occurs twice: .*row 1 and .*row 2"),
    ],
)
def test_ids_that_would_be_guessed_are_refused(tmp_path, key, message):
    rows = [{"text": "a", "key": "7"}, {"text": "b", "key": key}]
    with pytest.raises(CorpusError, match=message):
        load_corpus(_jsonl(tmp_path / "it.jsonl", rows), id_column="key")


def test_rows_that_differ_have_different_digests():
    rows = [
        Row("a", "b\0c"),
        Row("a\0b", "c"),
        Row("a", "b", "None"),
        Row("a", "b"),
        Row("a", "b\0None"),
        Row("a\0b\0None", "c"),
        Row("1", "1", 1),
        Row("1", "1", 1.0),
        Row("1", "1", "1"),
    ]
    assert len({row_digest(row) for row in rows}) == len(rows)


def test_records_of_ordinary_corpora_are_what_they_were(tmp_path):
    """Stores and results made before stay valid."""
    names = [
        {
            "id": f"d{i // 3}#{i}",
            "text": f'Text {i}, "\u00e9"\nline',
            "label": ["ham", "spam", "eggs"][i % 3],
        }
        for i in range(120)
    ]
    path = _jsonl(tmp_path / "names.jsonl", names)
    found = {"jsonl": load_corpus(path), "ids": load_corpus(path, id_column="id")}
    numbers = "".join(f"text {i},{[3, 11, 2][i % 3]}\n" for i in range(120))
    (tmp_path / "numbers.csv").write_text(f"text,label\n{numbers}")
    found["csv"] = load_corpus(tmp_path / "numbers.csv")
    scores = "".join(f"a {i // 2}\tb {i}\t{i / 8:.3f}\n" for i in range(120))
    (tmp_path / "scores.tsv").write_text(f"text_a\ttext_b\tlabel\n{scores}")
    found["tsv"] = load_corpus(tmp_path / "scores.tsv")
    texts = [f"t {i}" for i in range(120)]
    for name, labels in (
        ("truth", [i % 2 == 0 for i in range(120)]),
        ("floats", [float(i % 4) for i in range(120)]),
    ):
        table = pyarrow.table({"text": texts, "label": labels})
        pyarrow.parquet.write_table(table, tmp_path / f"{name}.parquet")
        found[name] = load_corpus(tmp_path / f"{name}.parquet")
    path = tmp_path / "100% of it+x=y - b.txt"
    path.write_text("".join(f"Paragraph {i} " * 20 + "\n\n" for i in range(120)))
    found["txt"] = load_corpus(path)
    for split in ("train", "dev"):
        rows = [{"text": f"{split} {i}", "label": i % 2} for i in range(120)]
        _jsonl(tmp_path / "set" / f"{split}.jsonl", rows)
    (tmp_path / "set" / "labels.txt").write_text("no\nyes\n")
    found["folder"] = load_corpus(tmp_path / "set")
    assert {name: one.fingerprint["sha256"] for name, one in found.items()} == {
        "jsonl": "0ea2bc68a710d998",
        "ids": "d86d9cbe5bb28042",
        "csv": "66b9923b1cf5a4e9",
        "tsv": "8d474d4ddc8ec038",
        "truth": "4d42e38bdc627208",
        "floats": "e9d2d23593402d65",
        "txt": "6db0332235e891ef",
        "folder": "5f123f787342d9b4",
    }
    assert np.bincount(found["truth"].labels("fit")).min() > 30
