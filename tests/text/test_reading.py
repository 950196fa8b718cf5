"""Tables are read as their bytes say, or refused with file, line and remedy."""

import codecs
import csv
import json
import os
import subprocess

import pyarrow
import pyarrow.parquet
import pytest

from helix_jax.errors import CorpusError
from helix_jax.text.corpora import load_corpus

# Characters at which Python's splitlines would break, but files do not.
ODD = "one\u2028two\u2029three\x0bfour\x0cfive\x85six\x1cseven\x1deight\x1enine"
TEXTS = ["first \u00e9", ODD, "\ufefflast"]
SUFFIXES = ("csv", "tsv", "jsonl", "txt")


def _content(suffix, texts):
    if suffix == "txt":
        return "\n\n".join(f"{text} {'word ' * 50}end" for text in texts)
    if suffix == "jsonl":
        rows = ({"text": text, "label": "x"} for text in texts)
        return "".join(json.dumps(row, ensure_ascii=False) + "\n\n" for row in rows)
    if suffix == "csv":
        return "text,label\n" + "".join(f'"{text}",x\n' for text in texts)
    return "text\tlabel\n" + "".join(f"{text}\tx\n" for text in texts)


def _texts(path, **flags):
    corpus = load_corpus(path, **flags)
    rows = [row for split in corpus.splits for row in corpus.read(split)]
    return [text.text for text in sorted(rows, key=lambda row: row.id)]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
    ],
)
def test_encodings_with_a_mark_and_odd_characters(tmp_path, suffix, mark, encoding):
    path = tmp_path / f"it.{suffix}"
    path.write_bytes(mark + _content(suffix, TEXTS).encode(encoding))
    found = _texts(path)
    assert len(found) == len(TEXTS)
    for text, expected in zip(found, TEXTS):
        assert text == expected or text.startswith(f"{expected} word ")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "latin1"])
def test_the_advice_for_other_encodings_works(tmp_path, suffix, encoding):
    path = tmp_path / f"it.{suffix}"
    texts = ["first \u00e9", "second", "third"]
    path.write_bytes(_content(suffix, texts).encode(encoding))
    with pytest.raises(CorpusError, match=rf"it\.{suffix}, line \d+: ") as caught:
        load_corpus(path)
    advice = str(caught.value).partition("iconv ")[2].split()
    assert advice[-3:] == ["OLD", ">", "NEW"]
    iconv = subprocess.run(
        ["iconv", *advice[:-3], str(path)], capture_output=True, check=True
    )
    path.write_bytes(iconv.stdout)
    assert [text.partition(" word")[0] for text in _texts(path)] == texts


def test_line_breaks_inside_quotes_stay_what_they_are(tmp_path):
    fields = ["a\nb", "c\r\nd", "e\rf", 'say "g"\r\n\r\nh']
    path = tmp_path / "it.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["text"], *([field] for field in fields)])
    assert _texts(path) == fields


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "it.csv",
            b'text,b\na,1\n"b,2\nc,3\nd,4\n',
            r"it.csv, line 3: malformed CSV: ",
        ),
        (
            "it.csv",
            b'text,b\n"a\nb",1\n"b,2\n',
            r"line 4: .* read up to line 4\. Close",
        ),
        (
            "it.csv",
            b'text\n"a"b\n',
            r"it.csv, line 2: malformed CSV: .* write those ins",
        ),
        (
            "it.csv",
            b'text,b\n"a\nb",1\nc\n',
            r"line 4: 1 fields where the header has 2",
        ),
        (
            "it.csv",
            b"text;label\na;b\n",
            r"seem to be separated by ';': write the file",
        ),
        (
            "it.csv",
            b"text\tlabel\na\tb\n",
            r"separated by '\\t': write the file with co",
        ),
        ("it.csv", b"text,label,,\na,b,,\n", r"line 1: the header repeats a column: "),
        ("it.csv", b"text,label,\na,b\n", r"it.csv, line 2: 2 fields where the header"),
        (
            "it.tsv",
            b"text\tlabel\tlabel\na\tb\tc\n",
            r"it.tsv, line 1: the header repe",
        ),
        (
            "it.csv",
            b"text,label\na,0\ntext,label\nb,1\n",
            r"it.csv, line 3: the header is repeated",
        ),
        (
            "it.tsv",
            b"text\tlabel\na\t0\n\xef\xbb\xbftext\tlabel\nb\t1\n",
            r"it.tsv, line 3: the header is repeated",
        ),
        ("it.csv", b"text,b\na\0b,c\n", r"it.csv, line 2: holds a NUL character"),
        ("it.csv", b"\x1f\x8b\x08\x00\xff", r"line 1: .*the file is gzip; unpack it"),
        ("it.csv", b"PK\x03\x04\x14\x00\x06", r"line 1: .* a spreadsheet; .* as CSV"),
        ("it.jsonl", b"PAR1\x00\x00", r"the file is Parquet; give it the suffix"),
        (
            "it.jsonl",
            b'[{"text": "a"}]',
            r"line 1: expected a JSON obj.* jq -c '\.\[\]'",
        ),
        (
            "it.jsonl",
            b'[\n{"text": "a"}\n]',
            r"line 1: malformed JSON: .* one whole JSON",
        ),
        (
            "it.jsonl",
            b'{"text": "a"}\n\n{"text": "b", "n": %s}' % (b"9" * 5000),
            r"it.jsonl, line 3: JSON that cannot be held: .*digits",
        ),
        (
            "it.jsonl",
            b'{"text": "a", "n": %s}' % (b"[" * 100_000),
            r"it.jsonl, line 1: JSON nested too deeply",
        ),
        (
            "it.jsonl",
            b'{"text": "a"}\n{"text": "b", "label": 1}\n',
            r"line 2: has a column 'label' that the first record lacks\. .* label_col",
        ),
        ("it.jsonl", b"caf\xe9", r"it.jsonl, line 1: not UTF-8 .*byte 0xe9\); convert"),
        ("it.csv.gz", b"", r"cannot read '.gz'; .* files; unpack it first"),
        ("it", b"", r"cannot read 'a file without suffix'"),
    ],
)
def test_what_is_not_understood_names_file_line_and_remedy(
    tmp_path, name, content, message
):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=message) as caught:
        load_corpus(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ('{"text": "a", "label": 0, "label": 1}', r"line 2: .*'label' stands twice"),
        ('{"text": "a", "label": 1, "label": 1}', r"line 2: .*'label' stands twice"),
        ('{"text": "a", "text": "b", "label": 1}', r"line 2: .*'text' stands twice"),
        ('{"text": "a", "label": 1, "label": true}', r"line 2: .*'label' stands twice"),
    ],
)
def test_a_key_twice_in_a_line_is_refused(tmp_path, record, message):
    path = tmp_path / "it.jsonl"
    path.write_text(f'{{"text": "b", "label": 0}}\n{record}\n')
    with pytest.raises(CorpusError, match=message):
        load_corpus(path)


@pytest.mark.parametrize("twice", ["label", "text", "other"])
def test_two_columns_of_one_name_in_parquet_are_refused(tmp_path, twice):
    names = ["text", "label", "other", twice]
    columns = [pyarrow.array([f"{k} {i}" for i in range(9)]) for k in range(4)]
    path = tmp_path / "it.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_arrays(columns, names), path)
    message = f"it.parquet: two columns are called '{twice}'; columns found: 'text', "
    for flags in ({}, {"text_column": "text", "label_column": "label"}):
        with pytest.raises(CorpusError, match=message):
            load_corpus(path, **flags)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("text,label,Label", r"column 'Label' is almost named 'label'"),
        ("text,label,label ", r"column 'label ' is almost named 'label'"),
        ("text, label,x", r"column ' label' is almost .* right .* with label_column"),
        (
            "text,TEXT,label",
            r"column 'TEXT' is almost .* right column with text_column",
        ),
        ("\ufefftext,text ,label", r"column 'text ' is almost named 'text'"),
    ],
)
def test_names_that_are_nearly_customary_are_not_guessed(tmp_path, header, message):
    path = tmp_path / "it.csv"
    path.write_text(f"{header}\na,b,c\nd,e,f\n", "utf-8")
    with pytest.raises(CorpusError, match=message):
        load_corpus(path)
    names = header.removeprefix("\ufeff").split(",")
    flags = {"text_column": names[0], "label_column": names[2]}
    assert _texts(path, **flags) == ["a", "d"]


def test_the_first_customary_name_is_taken(tmp_path):
    path = tmp_path / "it.csv"
    path.write_text("labels,sentence,label,text\n1,a,x,b\n2,c,y,d\n")
    corpus = load_corpus(path)
    assert corpus.classes == ("x", "y")
    assert _texts(path) == ["b", "d"]


def test_names_that_are_not_utf8_are_refused_in_a_line_that_can_be_printed(tmp_path):
    content = b'{"text": "a"}\n'
    latin = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(latin)
    for name in (latin + b"/it.jsonl", latin + b"/train.jsonl"):
        with open(name, "wb") as file:
            file.write(content)
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "train.jsonl").write_bytes(content)
    with open(os.fsencode(folder) + b"/test_\xe9.jsonl", "wb") as file:
        file.write(content)
    for given in (latin + b"/it.jsonl", latin, os.fsencode(folder)):
        with pytest.raises(
            CorpusError, match=r"\\udce9.* not UTF-8.* rename"
        ) as caught:
            load_corpus(os.fsdecode(given))
        assert str(caught.value).encode()
    os.rename(os.fsencode(folder) + b"/test_\xe9.jsonl", folder / "dev.jsonl")
    with open(os.fsencode(folder) + b"/notes_\xe9.md", "wb") as file:
        file.write(b"words")
    assert load_corpus(folder).counts["duplicates"] == 1
    (folder / "extra.jsonl").write_bytes(content)
    with pytest.raises(
        CorpusError, match=r"found .*notes_\\udce9.md.* Not a"
    ) as caught:
        load_corpus(folder)
    assert str(caught.value).encode()


def test_what_is_no_file_here(tmp_path):
    for name in ("gs://bucket/it.csv", "https://example.org/it.csv"):
        with pytest.raises(CorpusError, match=r"must be a local .* got the URL"):
            load_corpus(name)
    (tmp_path / "it.parquet").write_bytes(b"")
    with pytest.raises(CorpusError, match=r"it\.parquet: not a readable Parquet file"):
        load_corpus(tmp_path / "it.parquet")


@pytest.mark.parametrize(
    "name",
    [
        "train.jsonl.gz",
        "train.json",
        "TRAIN.txt",
        "dev-0.arrow",
        "validation",
        "train/",
    ],
)
def test_splits_of_a_folder_that_cannot_be_read_are_not_passed_over(tmp_path, name):
    """Or the test split, alone then, would be divided and fitted on."""
    rows = "".join(f'{{"text": "text {i}", "label": {i % 2}}}\n' for i in range(60))
    (tmp_path / "test.jsonl").write_text(rows)
    for beside in ("README.md", "test.py", "train.log", ".train.json", "info.json"):
        (tmp_path / beside).write_text("{}")
    assert load_corpus(tmp_path).counts["fit"]
    other = tmp_path / name.rstrip("/")
    other.mkdir() if name.endswith("/") else other.write_bytes(b"")
    with pytest.raises(CorpusError, match=rf"{other.name} is named like a split but"):
        load_corpus(tmp_path)


def test_a_list_of_labels_under_another_case_is_not_passed_over(tmp_path):
    (tmp_path / "test.csv").write_text("text,label\na,0\n")
    (tmp_path / "Labels.TXT").write_text("no\nyes\n")
    with pytest.raises(CorpusError, match=r"Labels\.TXT must be called labels\.txt"):
        load_corpus(tmp_path)


@pytest.mark.parametrize(
    "flags",
    [
        {"text_column": "text", "label_column": "text"},
        {"text_column": "text", "pair_column": "text"},
        {"text_column": "text", "pair_column": "label", "label_column": "label"},
    ],
)
def test_one_column_is_not_two_things(tmp_path, flags):
    path = tmp_path / "it.csv"
    path.write_text("text,label\na,x\nb,y\n")
    with pytest.raises(CorpusError, match=r"it\.csv: text_column, .* be different"):
        load_corpus(path, **flags)


def test_a_column_that_is_the_text_is_not_the_label_too(tmp_path):
    path = tmp_path / "it.csv"
    path.write_text("body,label\na,x\nb,y\n")
    assert load_corpus(path, text_column="label").classes is None
    assert load_corpus(path, text_column="body").classes == ("x", "y")
