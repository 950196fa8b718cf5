"""Whether an attack does better than chance: null intervals, rates, uniformity."""

from typing import NamedTuple

import numpy as np
from scipy import stats

from helix_jax.stats import Interval, permutation_p


class Correlation(NamedTuple):
    """A correlation and its null distribution, from shuffled truth.

    Attributes:
      value: Pearson's correlation of estimate and truth.
      low, high: ends of the central 95% of the correlations with shuffled truth.
      p_value: share of shuffles at least as far from zero, never below 1 / (1 + R).
    """

    value: float
    low: float
    high: float
    p_value: float


def correlate(
    estimate: np.ndarray,
    truth: np.ndarray,
    *,
    rng: np.random.Generator,
    shuffles: int = 1000,
) -> Correlation:
    """Correlation with its permutation null.

    Args:
      estimate: any shape, float.
      truth: the same shape.
      rng: for the shuffles.
      shuffles: R.

    Returns:
      Correlation; a constant estimate has correlation 0.

    Raises:
      ValueError: the shapes differ.

    Reference: Good 2005, "Permutation, parametric, and bootstrap tests", section 3.
    """
    estimate, truth = np.asarray(estimate, float), np.asarray(truth, float)
    if estimate.shape != truth.shape:
        raise ValueError(
            "correlate: estimate and truth need the same shape, got "
            f"{list(estimate.shape)} and {list(truth.shape)}."
        )
    a, b = _standardised(estimate), _standardised(truth)
    value = float(a @ b)
    null = np.array([a @ rng.permutation(b) for _ in range(shuffles)])
    low, high = np.quantile(null, [0.025, 0.975])
    p_value = float(permutation_p(abs(value), np.abs(null)))
    return Correlation(value, float(low), float(high), p_value)


def _standardised(values: np.ndarray) -> np.ndarray:
    # Scaled by the largest first, so that no square overflows, whatever the units.
    flat = values.reshape(-1) / max(np.abs(values).max(initial=0.0), 1e-300)
    flat = flat - flat.mean()
    return flat / max(float(np.linalg.norm(flat)), 1e-300)


def rate(successes: int, trials: int, *, level: float = 0.95) -> Interval:
    """A rate with its exact binomial interval.

    Reference: Clopper and Pearson 1934, Biometrika 26.
    """
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(
            "rate: expected at most as many successes as trials, and one trial or "
            f"more, got {successes} successes of {trials} trials."
        )
    interval = stats.binomtest(successes, trials).proportion_ci(level, method="exact")
    return Interval(successes / trials, float(interval.low), float(interval.high))


def uniformity(values: np.ndarray, *, bins: int = 64) -> float:
    """p-value of Pearson's chi-squared test that values are uniform on [0, 1).

    Args:
      values: any shape, float in [0, 1); at least 5 per bin.
      bins: number of equal intervals.

    Returns:
      The p-value: itself uniform if the values are, near zero if they are not.
    """
    values = np.asarray(values, float).reshape(-1)
    if len(values) < 5 * bins:
        raise ValueError(
            f"uniformity: {bins} bins need {5 * bins} values, got {len(values)}."
        )
    counts = np.histogram(values % 1.0, bins, (0.0, 1.0))[0]
    return float(stats.chisquare(counts).pvalue)
