import hashlib

import numpy as np
import pytest

from helix_jax.errors import CorpusError
from helix_jax.text.hashing import document_of, split_of, unit_hash

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
