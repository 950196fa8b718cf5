"""Predicting which rows of an index a map serves worst, from their old embeddings.

A row's residual is 1 - cos(mapped - centre, own - centre). On the fit split it is taken
out of sample: each half of the documents is mapped by a map of the other half. A ridge
map from the old embedding to it then predicts the residual of any row of the index,
before that row is embedded again.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import scipy.stats

from helix_jax.activations import Pair
from helix_jax.alignment import Moments, accumulate, apply_map
from helix_jax.stats import Interval, bootstrap_statistic
from helix_jax.text.hashing import hashed_order
from helix_jax.transfer.pair_fit import gcv_map, pair_moments
from helix_jax.transfer.ways import Way
from helix_jax.types import Array


def predicted_residuals(
    pair: Pair, select: Moments, old: np.ndarray, *, way: Way, centre: np.ndarray
) -> np.ndarray:
    """The predicted residual of each row of an index.

    Args:
      pair: new and old embeddings of the fit split.
      select: moments of the select split, for choosing penalties.
      old: [N, dy] the index.
      way: of the map.
      centre: of the map's target; cosines are taken about it.

    Returns:
      [N] float64.
    """
    order = hashed_order(pair.ids, salt="residuals", by_document=True)
    middle = len(order) // 2
    halves = np.sort(order[:middle]), np.sort(order[middle:])
    known, residuals = [], []
    for own, other in (halves, halves[::-1]):
        moments = {"fit": pair_moments(pair.select(other)), "select": select}
        new_rows, old_rows = pair.select(own).read()
        found = way.residuals(way.fit(moments).map, new_rows, old_rows, centre)
        known.append(old_rows)
        residuals.append(found[:, None].astype(np.float32))
    rows = np.concatenate(known), np.concatenate(residuals)
    return np.asarray(apply_map(gcv_map(accumulate([rows])), old), np.float64)[:, 0]


def rank_agreement(
    a: Array, b: Array, documents: Sequence[str], *, resamples: int = 2000
) -> Interval:
    """Spearman's correlation of two measures of rows, over resampled documents.

    Args:
      a, b: [N] float.
      documents: [N].
      resamples: of the bootstrap; ranks are those among all rows in every resample.
    """
    a, b = (scipy.stats.rankdata(z) / len(z) - 0.5 for z in (a, b))
    sums = np.stack([a, b, a * a, b * b, a * b, np.ones(len(a))], axis=1)
    return bootstrap_statistic(sums, documents, _correlation, resamples=resamples)


def _correlation(sums: Array) -> Array:
    mean = sums / sums[5]
    spread = (mean[2] - mean[0] ** 2) * (mean[3] - mean[1] ** 2)
    return (mean[4] - mean[0] * mean[1]) / jnp.sqrt(spread)
