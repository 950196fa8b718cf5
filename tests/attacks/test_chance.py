"""How far from chance: every shuffle, exact intervals, uniform values."""

import itertools

import numpy as np
import pytest

from helix_jax.attacks import chance


def test_a_correlation_has_the_p_value_of_all_shuffles_on_both_sides(rng):
    """Few numbers, one of them far off, so that the two tails differ."""
    estimate, truth = rng.exponential(size=(2, 6)) ** 2
    every = [
        np.corrcoef(estimate, truth[list(order)])[0, 1]
        for order in itertools.permutations(range(6))
    ]
    ends = np.quantile(every, [0.025, 0.975])
    for sign in (1, -1):
        found = chance.correlate(estimate, sign * truth, rng=rng, shuffles=4000)
        value = np.corrcoef(estimate, truth)[0, 1]
        assert found.value == pytest.approx(sign * value)
        both = np.mean(np.abs(every) >= abs(value) - 1e-12)
        assert found.p_value == pytest.approx(both, abs=0.04)  # 5 standard errors
        low, high = np.sort(sign * ends)
        assert (found.low, found.high) == pytest.approx((low, high), abs=0.05)


def test_the_ends_hold_nineteen_of_twenty_shuffles(rng):
    """Of many rows the correlation is normal, of variance 1 / (n - 1)."""
    found = chance.correlate(*rng.normal(size=(2, 401)), rng=rng, shuffles=4000)
    assert (found.low, found.high) == pytest.approx((-1.96 / 20, 1.96 / 20), abs=6e-3)


def test_independent_numbers_have_uniform_p_values(rng):
    found = [
        chance.correlate(*rng.normal(size=(2, 15)), rng=rng, shuffles=99).p_value
        for _ in range(300)
    ]
    assert min(found) >= 0.01
    assert np.mean(np.array(found) <= 0.1) == pytest.approx(0.1, abs=0.08)
    assert np.mean(found) == pytest.approx(0.5, abs=0.08)


def test_a_scaled_copy_is_certain_and_a_constant_knows_nothing(rng):
    truth = rng.normal(size=(4, 5))
    copied = chance.correlate(-3e30 * truth + 1, truth, rng=rng, shuffles=199)
    assert copied.value == pytest.approx(-1)
    assert copied.p_value == pytest.approx(1 / 200)
    assert chance.correlate(np.ones((4, 5)), truth, rng=rng).value == 0
    with pytest.raises(ValueError, match=r"the same shape, got \[4, 5\] and \[5, 4\]"):
        chance.correlate(truth, truth.T, rng=rng)


def test_a_rate_has_the_interval_of_clopper_and_pearson():
    """No success of n trials: the upper end solves (1 - p)^n = 0.025."""
    found = chance.rate(0, 30)
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 30))
    assert chance.rate(30, 30).low == pytest.approx(0.025 ** (1 / 30))
    with pytest.raises(ValueError, match="got 3 successes of 2 trials"):
        chance.rate(3, 2)


def test_uniform_values_are_told_from_others(rng):
    values = rng.random(6400)
    assert chance.uniformity(values) > 1e-4
    assert chance.uniformity(values**1.2) < 1e-9
    assert chance.uniformity(np.where(values < 0.98, values, 0.5)) < 1e-9
    with pytest.raises(ValueError, match="64 bins need 320 values, got 319"):
        chance.uniformity(values[:319])
