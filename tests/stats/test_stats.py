"""Permutation tests, false discoveries, seeds, jackknife: twins and coverage."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from helix_jax.stats import (
    benjamini_hochberg,
    benjamini_yekutieli,
    document_groups,
    jackknife_interval,
    permutation_null,
    permutation_p,
    seed_interval,
    sign_flip_p,
)


def _inner(order, x, y):
    return jnp.vdot(x[order], y)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_adjusted_p_values_equal_scipy(p):
    for function, method in ((benjamini_hochberg, "bh"), (benjamini_yekutieli, "by")):
        want = scipy.stats.false_discovery_control(p, method=method)
        np.testing.assert_allclose(function(np.array(p)), want, rtol=1e-12, atol=1e-300)


def test_tests_that_were_not_made_do_not_count():
    p = np.array([[0.001, np.nan], [0.04, 0.3]])
    for function, method in ((benjamini_hochberg, "bh"), (benjamini_yekutieli, "by")):
        want = scipy.stats.false_discovery_control(p[~np.isnan(p)], method=method)
        for adjust in (function, jax.jit(function)):
            q = np.asarray(adjust(p))
            np.testing.assert_allclose(q[~np.isnan(p)], want, rtol=1e-6)
            assert np.isnan(q[0, 1])
    with pytest.raises(ValueError, match=r"in \[0, 1\], got -0.1 to 0.5"):
        benjamini_hochberg(np.array([0.5, -0.1]))


def test_false_discoveries_stay_at_their_rate():
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(300):
        z = rng.normal(size=100) + np.where(np.arange(100) < 20, 3.0, 0)
        found = np.asarray(benjamini_hochberg(scipy.stats.norm.sf(z))) <= 0.1
        shares.append(found[20:].sum() / max(found.sum(), 1))
    assert np.mean(shares) < 0.1  # 0.08 expected: 80 of 100 are null


def test_permutation_p_equals_all_permutations():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 6))
    every = [x[list(order)] @ y for order in itertools.permutations(range(6))]
    score = np.quantile(every, 0.9)
    null = permutation_null(_inner, 6, x, y, permutations=20_000, at_once=64)
    want = np.mean(np.array(every) >= score)
    # Four standard errors of a share of 20,000 draws.
    assert float(permutation_p(score, null)) == pytest.approx(want, abs=0.009)


def test_permutations_depend_on_the_key_only():
    x, y = np.random.default_rng(0).normal(size=(2, 9))
    few = permutation_null(_inner, 9, x, y, permutations=7)
    more = permutation_null(_inner, 9, x, y, permutations=20, at_once=4)
    other = permutation_null(_inner, 9, x, y, permutations=7, key=jax.random.key(1))
    np.testing.assert_allclose(few, more[:7], rtol=1e-12)
    assert not np.allclose(few, other)


def test_permutation_p_is_uniform_under_the_null():
    rng = np.random.default_rng(0)
    p = []
    for number in range(200):
        x, y = rng.normal(size=(2, 12))
        key = jax.random.key(number)
        null = permutation_null(_inner, 12, x, y, permutations=99, key=key, at_once=99)
        p.append(float(permutation_p(x @ y, null)))
    assert min(p) >= 0.01
    assert scipy.stats.kstest(p, "uniform").pvalue > 1e-3


def test_p_of_distances_and_of_nan():
    null = np.array([[1.0, np.nan], [2.0, 3.0], [3.0, 3.0]])
    score = np.array([1.5, 4.0])
    np.testing.assert_allclose(permutation_p(score, null), [3 / 4, 2 / 4])
    np.testing.assert_allclose(permutation_p(score, null, smaller=True)[0], 2 / 4)
    assert np.isnan(float(permutation_p(np.nan, null[:, 0])))
    with pytest.raises(ValueError, match="leading axis of shuffles"):
        permutation_p(score, null[:, :1])
    with pytest.raises(ValueError, match="needs at least 2 rows"):
        permutation_null(_inner, 1, null, null)
    with pytest.raises(ValueError, match="1 or more, got 0"):
        permutation_null(_inner, 5, null, null, permutations=0)


def test_sign_flips_equal_all_flips_and_respect_documents():
    rng = np.random.default_rng(0)
    sums = rng.normal(size=10) + 0.5
    signs = np.array(list(itertools.product([-1, 1], repeat=10)))
    want = np.mean(np.abs(signs @ sums) >= abs(sums.sum()) - 1e-12)
    got = sign_flip_p(sums, np.arange(10), permutations=40_000)
    assert float(got) == pytest.approx(want, abs=0.01)
    # Ten rows of one document are one unit, not ten.
    repeated = np.repeat(sums[:3], 10)
    assert float(sign_flip_p(repeated, np.repeat(np.arange(3), 10))) > 0.2
    with pytest.raises(ValueError, match="difference and a document for each row"):
        sign_flip_p(sums, [1, 2])


def test_seed_interval_equals_scipy_and_covers():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4000, 5)).T
    got = seed_interval(values)
    want = scipy.stats.t.interval(
        0.95, 4, loc=values[:, 0].mean(), scale=scipy.stats.sem(values[:, 0])
    )
    np.testing.assert_allclose([got.low[0], got.high[0]], want, rtol=1e-12, atol=1e-300)
    inside = np.mean((np.asarray(got.low) <= 0) & (np.asarray(got.high) >= 0))
    assert inside == pytest.approx(0.95, abs=0.014)
    with pytest.raises(ValueError, match="needs at least 2 rows"):
        seed_interval(values[:1])
    with pytest.raises(ValueError, match="NaN or infinity"):
        seed_interval(np.array([1.0, np.nan]))


def test_jackknife_covers_with_documents():
    """The correlation of clustered rows; percentile and row-wise forms cover less."""
    rng = np.random.default_rng(0)
    inside, documents = 0, np.repeat(np.arange(60), 4)
    groups = document_groups(documents, groups=20)
    for _ in range(400):
        effect = rng.normal(size=(60, 2)) @ np.array([[1, 0.5], [0, 0.75**0.5]])
        x, y = np.repeat(effect, 4, axis=0).T
        left_out = [
            np.corrcoef(x[groups != g], y[groups != g])[0, 1] for g in range(20)
        ]
        got = jackknife_interval(np.corrcoef(x, y)[0, 1], np.array(left_out))
        inside += float(got.low) <= 0.5 <= float(got.high)
    assert 0.91 < inside / 400 < 0.985


def test_jackknife_of_a_mean_is_its_t_interval():
    values = np.random.default_rng(0).normal(size=12)
    left_out = (values.sum() - values) / 11
    got, want = jackknife_interval(values.mean(), left_out), seed_interval(values)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-300)
    with pytest.raises(ValueError, match=r"left_out needs shape \[groups"):
        jackknife_interval(values, left_out)


def test_groups_hold_whole_documents():
    documents = np.random.default_rng(0).integers(50, size=300)
    groups = document_groups(documents, groups=7)
    for document in range(50):
        assert len(set(groups[documents == document])) == 1
    counts = [len(set(documents[groups == g])) for g in range(7)]
    assert max(counts) - min(counts) <= 1
    with pytest.raises(ValueError, match="2 to 50, the number of documents, got 51"):
        document_groups(documents, groups=51)
