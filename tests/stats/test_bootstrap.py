"""Document bootstrap: brute force, coverage on planted cases, pairing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from helix_jax.probes import f1_of_confusion, macro_f1
from helix_jax.stats import (
    bootstrap_counts,
    bootstrap_interval,
    bootstrap_statistic,
    paired_interval,
)


def _clustered(seed, documents=40, rows=10, effect=1.0):
    """Rows of equal documents, each with an effect of its own; the mean is zero."""
    rng = np.random.default_rng(seed)
    of_document = effect * rng.normal(size=documents)
    values = np.repeat(of_document, rows) + 0.3 * rng.normal(size=documents * rows)
    return values, np.repeat(np.arange(documents), rows)


def test_value_and_spread_equal_brute_force():
    rng = np.random.default_rng(0)
    codes = rng.integers(30, size=400)
    values = rng.normal(size=400) + codes / 10
    got = bootstrap_interval(values, [f"doc{c}" for c in codes], resamples=4000)
    assert float(got.value) == pytest.approx(values.mean())
    names = np.unique(codes)
    means = []
    for _ in range(4000):
        drawn = rng.choice(names, len(names))
        means.append(np.concatenate([values[codes == name] for name in drawn]).mean())
    want = np.quantile(means, [0.025, 0.975])
    np.testing.assert_allclose([got.low, got.high], want, atol=0.08 * np.ptp(want))


@pytest.mark.parametrize("chance", [np.random.default_rng(0), jax.random.key(0)])
def test_every_document_is_drawn_as_often_as_any_other(chance):
    called = []

    def keep_counts(counts):
        called.append(np.asarray(counts))
        return [counts[:, 0]]

    bootstrap_counts(keep_counts, [7], chance=chance, resamples=3000, at_once=1000)
    once, *drawn = called
    np.testing.assert_array_equal(once, np.ones((1, 7)))
    counts = np.concatenate(drawn)
    assert counts.shape == (3000, 7)
    np.testing.assert_array_equal(counts.sum(axis=1), 7)
    assert scipy.stats.chisquare(counts.sum(axis=0)).pvalue > 1e-6
    # Draws of one resample are independent: a count is binomial, of variance 6 / 7.
    assert counts.var(axis=0) == pytest.approx(6 / 7, abs=0.12)


@pytest.mark.slow
def test_intervals_cover_at_their_level_only_with_the_documents():
    inside = {"documents": 0, "rows": 0}
    for seed in range(120):
        values, documents = _clustered(seed)
        for name, codes in (("documents", documents), ("rows", np.arange(len(values)))):
            got = bootstrap_interval(
                values, codes, resamples=400, key=jax.random.key(seed)
            )
            inside[name] += float(got.low) <= 0 <= float(got.high)
    # The percentile interval of 40 documents covers about 93.5%; 3 sigma around it.
    assert 0.86 < inside["documents"] / 120 < 0.99
    assert inside["rows"] / 120 < 0.7


def test_pairs_cancel_what_is_hard_for_both():
    values, documents = _clustered(0, effect=3.0)
    rng = np.random.default_rng(1)
    better = values + 0.2 + 0.3 * rng.normal(size=len(values))
    alone = bootstrap_interval(better, documents)
    paired = paired_interval(better, values, documents)
    assert float(paired.value) == pytest.approx((better - values).mean())
    assert float(paired.low) > 0
    assert float(paired.high - paired.low) < 0.2 * float(alone.high - alone.low)


def test_any_statistic_of_sums():
    rng = np.random.default_rng(0)
    labels, documents = rng.integers(3, size=300), np.arange(300) // 5
    predicted = np.where(rng.random(300) < 0.7, labels, rng.integers(3, size=300))
    got = bootstrap_statistic(
        np.eye(9)[labels * 3 + predicted], documents, _f1, resamples=500
    )
    want = float(macro_f1(predicted, labels, 3))
    assert float(got.value) == pytest.approx(want)
    assert float(got.low) < want < float(got.high)


def _f1(sums):
    return f1_of_confusion(jnp.reshape(sums, (3, 3)))


def test_deterministic_by_key():
    values, documents = _clustered(0)
    one, same = (bootstrap_interval(values, documents, resamples=99) for _ in range(2))
    other = bootstrap_interval(values, documents, resamples=99, key=jax.random.key(1))
    assert one == same
    assert one.value == other.value
    assert one.low != other.low


def test_a_certain_classifier_has_an_interval_of_no_width():
    got = bootstrap_interval(np.ones(20, bool), np.arange(20))
    assert (float(got.value), float(got.low), float(got.high)) == (1, 1, 1)


def test_bad_input_is_refused():
    values, documents = _clustered(0)
    with pytest.raises(ValueError, match="two documents or more, got 1"):
        bootstrap_interval(values, np.zeros(len(values)))
    with pytest.raises(ValueError, match=r"document of each of 400 rows, got \[3\]"):
        bootstrap_interval(values, ["a", "b", "c"])
    with pytest.raises(ValueError, match="NaN or infinity, first in row 7"):
        bootstrap_interval(np.where(np.arange(400) == 7, np.nan, values), documents)
    with pytest.raises(ValueError, match=r"level needs to be in \(0, 1\)"):
        bootstrap_interval(values, documents, level=95)
    with pytest.raises(ValueError, match=r"same rows, got \[400\] and \[399\]"):
        paired_interval(values, values[1:], documents)
