"""Intervals by resampling documents: rows of one document are not independent."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from helix_jax.types import Array


class Interval(NamedTuple):
    """A mean and the limits of its percentile interval."""

    value: float
    low: float
    high: float


def bootstrap_interval(
    values: Array,
    documents: Sequence[str] | Array,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile interval of a mean over rows, documents drawn with replacement.

    For the difference of two scores on the same rows, give the differences.

    Args:
      values: [N] float, one score a row, such as 0 or 1 for wrong or right.
      documents: [N] document of each row (`hashing.document_of`).
      resamples: number of draws.
      level: coverage.
      seed: of the draws.

    Returns:
      Interval.

    Raises:
      ValueError: no rows, or values and documents of different length.

    Reference: Efron 1979; clusters: Davison and Hinkley 1997, section 3.8.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not values.size or len(documents) != values.size:
        raise ValueError(
            "bootstrap_interval: needs one value and one document for each of one or "
            f"more rows, got {list(values.shape)} values and {len(documents)} documents."
        )
    _, code = np.unique(np.asarray(documents), return_inverse=True)
    rows = np.bincount(code)
    sums = np.bincount(code, weights=values)
    count, generator = len(rows), np.random.default_rng(seed)
    means = np.empty(resamples)
    step = max(1, 4_000_000 // count)
    for start in range(0, resamples, step):
        draws = min(step, resamples - start)
        drawn = generator.integers(count, size=(draws, count))
        means[start : start + draws] = sums[drawn].sum(1) / rows[drawn].sum(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values.mean()), float(low), float(high))
