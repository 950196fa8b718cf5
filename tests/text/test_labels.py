"""Labels that differ in a file differ in the corpus, and numbers are numbers only
where the file says so.
"""

import datetime
import decimal
import json

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from helix_jax.errors import CorpusError
from helix_jax.text.corpora import load_corpus


def _csv(path, labels):
    rows = "".join(f'text {i},"{label}"\n' for i, label in enumerate(labels))
    path.write_text(f"text,label\n{rows}", "utf-8")
    return str(path)


def _jsonl(path, labels):
    """Labels as JSON texts, so that 1 and 1.0 and true are told apart."""
    rows = (f'{{"text": "text {i}", "label": {x}}}\n' for i, x in enumerate(labels))
    path.write_text("".join(rows), "utf-8")
    return str(path)


def _parquet(path, labels, kind=None):
    texts = [f"text {i}" for i in range(len(labels))]
    table = pyarrow.table({"text": texts, "label": pyarrow.array(labels, kind)})
    pyarrow.parquet.write_table(table, path)
    return str(path)


def _labels(corpus, labels):
    """Each label beside the class that its rows got."""
    found = set()
    for split in corpus.splits:
        for text in corpus.read(split):
            found.add((labels[int(text.text.split()[1])], corpus.classes[text.label]))
    return found


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["01", "1", "001"], ("001", "01", "1")),
        (["3.1", "3.10", "3.9"], ("3.1", "3.10", "3.9")),
        (["1.0", "2.0", "10.0"], ("1.0", "10.0", "2.0")),
        (["1", "1.0"], ("1", "1.0")),
        (["0.5", "0.50000000000000000001"], ("0.5", "0.50000000000000000001")),
        (["1e3", "1000"], ("1000", "1e3")),
        (["1_000", "1000"], ("1000", "1_000")),
        (["+1", "1"], ("+1", "1")),
        (["0", "-0"], ("-0", "0")),
        (["1", "\u0661"], ("1", "\u0661")),  # an Arabic digit, which float() takes
        (["nan", "NaN", "inf"], ("NaN", "inf", "nan")),
        (["ham", "ham ", "Ham"], ("Ham", "ham", "ham ")),
        (["\u00e9", "e\u0301"], ("e\u0301", "\u00e9")),  # one character, two forms
        (["true", "True", "1"], ("1", "True", "true")),
        (["9007199254740993", "9007199254740992"],) * 2,
        (["7", "-3", "11", "2"], ("-3", "2", "7", "11")),
        (["9" * 5000, "8" * 5000], ("8" * 5000, "9" * 5000)),
    ],
)
def test_texts_that_differ_are_different_classes(tmp_path, labels, classes):
    if labels[0].startswith("9007"):
        classes = tuple(sorted(labels))
    labels = labels * 30
    for path in (
        _csv(tmp_path / "it.csv", labels),
        _jsonl(tmp_path / "it.jsonl", map(json.dumps, labels)),
        _parquet(tmp_path / "it.parquet", labels),
    ):
        corpus = load_corpus(path)
        assert corpus.classes == classes
        assert _labels(corpus, labels) == {(one, one) for one in classes}


@pytest.mark.parametrize(
    "labels", [[2**53 + 1, 2**53], [-(2**62) - 1, -(2**62)], [2**64 - 1, 2**64 - 2]]
)
def test_large_integers_stay_apart(tmp_path, labels):
    rows = labels * 30
    paths = [_jsonl(tmp_path / "it.jsonl", rows)]
    kind = pyarrow.uint64() if labels[0] >= 2**63 else pyarrow.int64()
    paths.append(_parquet(tmp_path / "it.parquet", rows, kind))
    for path in paths:
        corpus = load_corpus(path)
        assert corpus.classes == tuple(map(str, sorted(labels)))
        assert _labels(corpus, rows) == {(one, str(one)) for one in labels}


def test_decimals_of_a_text_file_are_scores_while_they_can_be_told_apart(tmp_path):
    for texts in (["5.000", "4.750", "0.125"], ["0.5", "1e-05", "2", "-3.25"]):
        corpus = load_corpus(_csv(tmp_path / "it.csv", texts * 30))
        assert corpus.classes is None
        found = {value for split in corpus.splits for value in corpus.scores(split)}
        assert found == set(map(float, texts))
    mixed = load_corpus(_csv(tmp_path / "it.csv", ["5.0", "5.00", "4.75"] * 30))
    with pytest.raises(
        CorpusError, match=r"holds classes.* two spellings, as 3\.1 and"
    ):
        mixed.scores("fit")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["1", "1.0"], r"labels 1 \(.*row 1\) and 1\.0 \(.*row 2\) are one number in"),
        (["1", "true"], r"mixed kinds: .* the number 1, .* the truth value True"),
        (["true", '"true"'], r"mixed kinds: .* the text 'true', .* truth value True"),
        (
            ["0.5", str(2**53 + 1)],
            r"row 2: the score 9007199254740993 is beyond 2\*\*53",
        ),
        (["0", "1e999"], r"line 2: label column 'label' .* found inf \(float\)"),
        (['"a"', '"\\ud800"'], r"line 2: label column .* found '\\ud800' \(str\)"),
        (
            ["9007199254740992.0", "9007199254740993.0"],  # one float64
            r"row 1: the class number 9007199254740992\.0 is a float beyond 2\*\*53",
        ),
        (["1", "-1"], r"row 2 has no label .* a class or score of -1 must be written"),
    ],
)
def test_labels_that_a_type_confuses_are_refused(tmp_path, labels, message):
    path = _jsonl(tmp_path / "it.jsonl", labels * 30)
    with pytest.raises(CorpusError, match=message):
        load_corpus(path)


@pytest.mark.parametrize(
    "labels",
    [
        [decimal.Decimal("1.10"), decimal.Decimal("1.20")],
        [b"a", b"b"],
        [datetime.date(2024, 1, 1), datetime.date(2024, 1, 2)],
        [[1], [2]],
    ],
)
def test_other_types_of_label_are_named(tmp_path, labels):
    path = _parquet(tmp_path / "it.parquet", labels)
    with pytest.raises(CorpusError, match=r"row 1: label column .* found .* \(\w+\)"):
        load_corpus(path)


def test_types_of_parquet_that_are_numbers_or_names(tmp_path):
    path = tmp_path / "it.parquet"
    names = pyarrow.array(["b", "a"] * 30).dictionary_encode()
    assert load_corpus(_parquet(path, names)).classes == ("a", "b")
    assert load_corpus(_parquet(path, [True, False] * 30)).classes == ("0", "1")
    assert load_corpus(_parquet(path, [2.0, 10.0] * 30)).classes == ("2", "10")
    scores = load_corpus(_parquet(path, [0.1, 1] * 30, pyarrow.float32()))
    assert set(scores.scores("fit")) == {float(np.float32(0.1)), 1.0}


def _folder(folder, names, labels):
    folder.mkdir(exist_ok=True)
    (folder / "labels.txt").write_bytes(names)
    _csv(folder / "train.csv", labels * 30)
    return str(folder)


@pytest.mark.parametrize(
    ("names", "labels", "classes"),
    [
        (b"spam\nham\n", ["ham", "spam"], ("spam", "ham")),
        (b"spam\r\nham\r\n\r\n", ["0", "1"], ("spam", "ham")),
        (b"\xef\xbb\xbfham \nham", ["ham", "ham "], ("ham ", "ham")),
        ("a\u2028b\nc\n".encode(), ["c", "a\u2028b"], ("a\u2028b", "c")),
        (b"1\n2\n3\n", ["1", "2", "3"], ("1", "2", "3")),
        (b"0\n1\n", ["1", "0"], ("0", "1")),
    ],
)
def test_class_names_are_lines_as_they_stand(tmp_path, names, labels, classes):
    corpus = load_corpus(_folder(tmp_path / "set", names, labels))
    assert corpus.classes == classes
    rows = labels * 30
    expected = {(x, x if x in classes else classes[int(x)]) for x in labels}
    assert _labels(corpus, rows) == expected


@pytest.mark.parametrize(
    ("names", "labels", "message"),
    [
        (
            b"a\nb\na\n",
            ["a"],
            r"labels.txt, line 3: the class 'a' is already on line 1",
        ),
        (b"a\n\nb\n", ["a"], r"labels.txt, line 2: no class name"),
        (b"\n", ["a"], r"labels.txt, line 1: no class name"),
        (
            b"1\n0\n",
            ["0", "1"],
            r"row 1: the label '0' may be the class of that name, ",
        ),
        (
            b"1\n2\n3\n",
            ["1", "2"],
            r"label '1' may be .* or class number 1, '2'\. Name",
        ),
        (
            b"a\nb\n",
            ["a", "1"],
            r"row 2: label '1' is not .* although other labels are",
        ),
        (
            b"a\nb\n",
            ["a", "a "],
            r"label 'a ' is not one of the 2 classes \('a', 'b'\)",
        ),
        (b"a\nb\n", ["01", "0"], r"row 1: label '01' is not one .* numbers 0 to 1"),
        (b"a\nb\n", ["2", "0"], r"row 1: label '2' is not one .* numbers 0 to 1"),
        (b"caf\xe9\nb\n", ["b"], r"labels.txt, line 1: not UTF-8"),
    ],
)
def test_class_names_that_do_not_fit(tmp_path, names, labels, message):
    with pytest.raises(CorpusError, match=message):
        load_corpus(_folder(tmp_path / "set", names, labels))
