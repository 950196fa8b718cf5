import hashlib

import numpy as np
import pytest

from helix_jax.errors import CorpusError
from helix_jax.text.hashing import (
    content_key,
    document_of,
    hashed_order,
    hashed_sample,
    hashed_subset,
    part_of,
    split_of,
    unit_hash,
)
from helix_jax.types import Text

DOCUMENTS = [f"corpus/{i}" for i in range(20_000)]


def test_document_is_before_the_first_mark():
    assert document_of("a/b.py#C.d#e") == "a/b.py"
    assert document_of("plain") == "plain"


def test_unit_hash_is_the_stated_number_and_uniform():
    raw = hashlib.sha256(b"split\0corpus/7").digest()
    expected = (int.from_bytes(raw[:8], "big") >> 11) * 2.0**-53
    assert unit_hash("corpus/7") == expected
    values = np.sort([unit_hash(name) for name in DOCUMENTS])
    # Kolmogorov-Smirnov distance; 1.63 / sqrt(n) is the one-percent point.
    distance = np.abs(values - np.arange(len(values)) / len(values)).max()
    assert distance < 1.63 / np.sqrt(len(values))
    other = np.array([unit_hash(name, salt="limit") for name in DOCUMENTS])
    mine = np.array([unit_hash(name) for name in DOCUMENTS])
    assert abs(np.corrcoef(mine, other)[0, 1]) < 0.03


@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.1), (0.9, 0.1, 0.0), (0.5, 0, 0.5)])
def test_shares_are_as_asked(fractions):
    splits = [split_of(name, fractions) for name in DOCUMENTS]
    for split, share in zip(("fit", "select", "test"), fractions):
        found = splits.count(split) / len(splits)
        assert abs(found - share) < 0.01 if share else found == 0


def test_texts_of_a_document_stay_together_whatever_else_there_is():
    for name in DOCUMENTS[:200]:
        assert len({split_of(f"{name}#{i}") for i in range(20)}) == 1
    assert split_of("corpus/7#1") == split_of("corpus/7")


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.9, 0.2, -0.1), (0.5, 0.1, 0.1)])
def test_bad_fractions_are_refused(fractions):
    with pytest.raises(CorpusError, match=r"three fractions .* sum to 1, got \("):
        split_of("a", fractions)


def test_parts_are_equal_shares_of_the_unit():
    parts = [part_of(name, 5, salt="silo") for name in DOCUMENTS]
    hashes = np.array([unit_hash(name, salt="silo") for name in DOCUMENTS])
    assert parts == list(np.searchsorted([0.2, 0.4, 0.6, 0.8], hashes, side="right"))
    halves = [part_of(name, 2, salt="silo") == 0 for name in DOCUMENTS]
    assert halves == list(hashes < 0.5)


def test_an_order_is_by_hash_and_does_not_depend_on_the_given_one():
    ids = [f"d{i // 3}#{i}" for i in range(300)]
    order = hashed_order(ids, salt="few-shot 0")
    expected = np.argsort([unit_hash(name, salt="few-shot 0") for name in ids])
    np.testing.assert_array_equal(order, expected)
    again = hashed_order(ids[::-1], salt="few-shot 0")
    assert [ids[::-1][row] for row in again] == [ids[row] for row in order]
    assert (hashed_order(ids, salt="few-shot 1") != order).any()
    assert hashed_order([], salt="none").shape == (0,)


def test_an_order_by_document_keeps_the_texts_of_one_together():
    ids = [f"d{i % 7}#{i:02d}" for i in range(70)]
    order = hashed_order(ids, salt="scaling 0", by_document=True)
    documents = sorted({f"d{i}" for i in range(7)}, key=lambda d: _hash_of(d))
    expected = [f"{d}#{i:02d}" for d in documents for i in range(int(d[1:]), 70, 7)]
    assert [ids[row] for row in order] == expected


def _hash_of(document):
    raw = hashlib.sha256(f"scaling 0\0{document}".encode()).digest()
    return int.from_bytes(raw[:8], "big")


@pytest.mark.parametrize("total", [0, 1, 700, 10**6])
def test_a_sample_is_the_shortest_start_of_the_order_that_reaches_the_total(total):
    texts = [Text(f"t{i}", "x" * (i % 40)) for i in range(100)]
    order = hashed_order([text.id for text in texts], salt="tokens")
    lengths = np.cumsum([len(texts[row].text) for row in order])
    count = min(int(np.searchsorted(lengths, total)) + 1, 100) if total else 0
    sample = hashed_sample(
        iter(texts), total, size=lambda text: len(text.text), salt="tokens"
    )
    assert [text.id for text in sample] == [texts[row].id for row in order[:count]]


def test_keys_of_content_ignore_case_and_white_space_alone():
    assert content_key(" The  Cat\n") == content_key("the cat")
    assert content_key("the cat") != content_key("thecat")
    assert content_key("\ud800") != content_key("\ud801")  # also of what is not Unicode
    assert content_key("the cat") == hashlib.sha256(b"the cat").digest()[:16]


def test_a_subset_is_of_the_ids_of_smallest_hash():
    ids = [f"t{i}" for i in range(50)]
    subset = hashed_subset(ids, 10, salt="s")
    assert list(subset) == sorted(subset)
    marks = [unit_hash(text_id, salt="s") for text_id in ids]
    assert set(subset) == set(np.argsort(marks)[:10])
    for count in (0, 50, 99):
        assert list(hashed_subset(ids, count, salt="s")) == list(range(50))
