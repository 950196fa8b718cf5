"""Comparisons with stated bounds: right where the fractions are equal."""

from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from helix_jax.stats import (
    at_most,
    benjamini_hochberg,
    benjamini_yekutieli,
    exact_fraction,
    permutation_p,
)


def exact_q(counts, tests_of, permutations):
    """q-values in whole numbers, by brute force."""
    m, order = len(counts), sorted(range(len(counts)), key=counts.__getitem__)
    q = [Fraction(1)] * m
    for place, i in enumerate(order):
        later = (
            Fraction(int(counts[order[j]]), permutations + 1) * tests_of(m) / (j + 1)
            for j in range(place, m)
        )
        q[i] = min(Fraction(1), *later)
    return q


def harmonic(m):
    return m * sum(Fraction(1, j) for j in range(1, m + 1))


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from([19, 39, 59, 99, 100, 119, 199, 999]))
@pytest.mark.slow
def test_discoveries_equal_those_in_whole_numbers(data, permutations):
    counts = data.draw(
        st.lists(st.integers(1, max(2, permutations // 6)), min_size=1, max_size=12)
    )
    p = np.array(counts) / (permutations + 1)
    for function, factor in (
        (benjamini_hochberg, int),
        (benjamini_yekutieli, harmonic),
    ):
        want = exact_q(counts, factor, permutations)
        got = np.asarray(function(p))
        for level in ("0.05", "0.1", "0.01"):
            found = [q <= Fraction(level) for q in want]
            assert (got <= float(level)).tolist() == found
        np.testing.assert_allclose(got, np.array(want, float), rtol=1e-15)


def test_a_run_of_nineteen_shuffles_discovers_all_its_pairs():
    p = permutation_p(np.ones(3), np.zeros((19, 3)))
    assert (np.asarray(benjamini_hochberg(p)) <= 0.05).all()


@pytest.mark.parametrize(("permutations", "tests"), [(59, 3), (119, 6), (99, 10)])
def test_some_of_the_pairs_at_the_bound(permutations, tests):
    # k of m at the least p: q = m / (k (P + 1)), which is .05 or more.
    p = np.full(tests, 0.9)
    least = -(-tests * 20 // (permutations + 1))
    p[:least] = 1 / (permutations + 1)
    assert (np.asarray(benjamini_hochberg(p)) <= 0.05).sum() == least
    p[0] = 0.9
    assert (np.asarray(benjamini_hochberg(p)) <= 0.05).sum() == 0


def test_single_precision_p_values_are_the_fractions_too():
    assert (np.asarray(benjamini_hochberg(np.full(7, 0.05, np.float32))) <= 0.05).all()
    p = np.random.default_rng(0).random(50)
    want = scipy.stats.false_discovery_control(p.astype(np.float32).astype(float))
    np.testing.assert_allclose(
        benjamini_hochberg(p.astype(np.float32)), want, rtol=1e-6
    )


def test_fractions_are_found_behind_their_rounding():
    assert exact_fraction(0.05) == Fraction(1, 20)
    assert exact_fraction(np.float32(1 / 3)) == Fraction(1, 3)
    assert exact_fraction(1 / 60) == Fraction(1, 60)
    irrational = float(np.sqrt(0.5))
    assert exact_fraction(irrational) == Fraction(irrational)
    assert exact_fraction(3) == 3


def test_at_most():
    assert at_most(0.3, 0.3)
    assert at_most(np.float32(0.3), 0.3)
    assert not at_most(0.3000001, 0.3)
    got = at_most(np.array([0.2, 0.3, 0.4, np.nan, np.inf, -np.inf]), 0.3)
    assert got.tolist() == [True, True, False, False, False, True]


def test_a_shuffle_that_changes_nothing_counts():
    score = 0.1 + 0.2
    null = np.array([0.3, score, 0.2, 0.1])  # the first is the score, rounded apart
    assert null[0] < score
    assert float(permutation_p(score, null)) == 3 / 5
    assert float(permutation_p(-score, -null, smaller=True)) == 3 / 5
