"""Arithmetic modulo 2^128 against Python integers."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helix_jax.private.aggregation import int128 as w
from tests.private.aggregation.stage import MODULUS, to_ints, to_words

EDGES = [0, 1, -1, 2**63, 2**64 - 1, 2**64, -(2**64), 2**127 - 1, -(2**127)]
wide = st.one_of(st.sampled_from(EDGES), st.integers(-(2**127), 2**127 - 1))
narrow = st.one_of(
    st.sampled_from([0, 1, -1, 2**32, -(2**32), 2**63 - 1, -(2**63)]),
    st.integers(-(2**63), 2**63 - 1),
)


@given(st.lists(st.tuples(wide, wide), min_size=1, max_size=20))
def test_add_and_subtract(pairs):
    a, b = ([pair[i] for pair in pairs] for i in (0, 1))
    words, other = to_words(a), to_words(b)
    w.add(words, other)
    assert to_ints(words) == [(x + y) % MODULUS for x, y in pairs]
    w.subtract(words, other)
    assert to_ints(words) == [x % MODULUS for x in a]
    w.subtract(words, other)
    assert to_ints(words) == [(x - y) % MODULUS for x, y in pairs]
    assert to_ints(other) == [y % MODULUS for y in b]


@given(st.lists(narrow, min_size=1, max_size=20), wide)
def test_multiply(vector, factor):
    got = w.multiply(np.array(vector, np.int64), factor)
    assert to_ints(got) == [x * factor % MODULUS for x in vector]


@given(
    st.lists(st.floats(-(2.0**126), 2.0**126), min_size=1, max_size=20),
    st.integers(-10, 126),
)
def test_from_float_is_the_nearest_integer(values, exponent):
    values += [math.ldexp(1.0, exponent), -math.ldexp(0.75, exponent), 0.5, -0.5]
    got = w.from_float(np.array(values))
    assert to_ints(got) == [round(x) % MODULUS for x in values]


@given(st.lists(wide, min_size=1, max_size=20))
def test_to_float_and_to_integers(values):
    words = to_words(values)
    assert list(w.to_integers(words)) == values
    for got, value in zip(w.to_float(words), values):
        assert abs(int(got) - value) <= abs(value) * 2.0**-52


@settings(deadline=None)
@given(st.sampled_from([1, w.BLOCK - 1, w.BLOCK, w.BLOCK + 1, 3 * w.BLOCK + 5]))
def test_blocks_leave_nothing_out(length):
    rng = np.random.default_rng(length)
    a, b = (rng.integers(0, 2**64, (2, length), np.uint64) for _ in range(2))
    words = a.copy()
    w.add(words, b)
    assert to_ints(words) == [(x + y) % MODULUS for x, y in zip(to_ints(a), to_ints(b))]
    w.subtract(words, b)
    np.testing.assert_array_equal(words, a)


@pytest.mark.parametrize(
    "words",
    [np.zeros((2, 3), np.int64), np.zeros((3, 2), np.uint64), np.zeros(6), None],
)
def test_other_shapes_and_dtypes_are_refused(words):
    with pytest.raises(ValueError, match=r"shape \[2, 3\] and dtype uint64"):
        w.require_words("test", words, 3)
