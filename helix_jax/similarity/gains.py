"""Discounted cumulative gain of the first k rows of a ranking.

    DCG@k = sum_{p=1..k} gain(row at place p) / log2(1 + p),    nDCG@k = DCG@k / largest

Relevance is binary where a query looks for one row only, and graded where other rows of
that row's class have some worth too.

Reference: Jaervelin and Kekaelaeinen 2002, "Cumulated gain-based evaluation of IR
  techniques", section 2.2; gains are not exponentiated, as in scikit-learn.
"""

import numpy as np

from helix_jax import checks
from helix_jax.types import Array

OWN_GAIN, CLASS_GAIN = 2.0, 1.0  # of the row that is looked for; of its class


def rank_gains(ranks: Array, *, depth: int) -> np.ndarray:
    """nDCG@depth of each query that looks for one row only, from that row's rank.

    Args:
      ranks: [Q] int, from 1.
      depth: k.

    Returns:
      [Q] float64: 1 / log2(1 + rank) within the first k, 0 beyond.
    """
    ranks = np.asarray(ranks)
    return np.where(ranks <= depth, 1 / np.log2(1.0 + ranks), 0.0)


def normalised_gains(gains: Array, largest: Array) -> np.ndarray:
    """nDCG of each query.

    Args:
      gains: [Q, k] float, not negative, of the rows that were found, best place first.
      largest: [Q, k] float, of the best possible ranking.

    Returns:
      [Q] float64 from 0 to 1; 0 where no row has a gain.

    Raises:
      ValueError: shapes that differ.
    """
    gains, largest = (np.asarray(z, np.float64) for z in (gains, largest))
    checks.require_shape("normalised_gains", "largest", largest, gains.shape)
    discount = 1 / np.log2(np.arange(gains.shape[1]) + 2)
    found, best = gains @ discount, largest @ discount
    return np.where(best > 0, found / np.where(best > 0, best, 1), 0.0)


def class_gains(
    found: Array, relevant: Array, classes: Array
) -> tuple[np.ndarray, np.ndarray]:
    """Graded gains of the rows that were found, and the largest possible.

    Args:
      found: [Q, k] int, rows of the index, best first, from `nearest_rows`.
      relevant: [Q] int, the row that each query looks for.
      classes: [N] int, class of each row of the index.

    Returns:
      gains [Q, k]: OWN_GAIN for the row that is looked for, CLASS_GAIN for others of
      its class; largest [Q, k], in the best order.
    """
    found, relevant, classes = map(np.asarray, (found, relevant, classes))
    own = classes[relevant]
    gains = np.where(classes[found] == own[:, None], CLASS_GAIN, 0.0)
    gains[found == relevant[:, None]] = OWN_GAIN
    sizes = np.bincount(classes, minlength=own.max() + 1)[own]
    places = np.arange(found.shape[1])
    largest = np.where(places < sizes[:, None], CLASS_GAIN, 0.0)
    largest[:, 0] = OWN_GAIN
    return gains, largest
