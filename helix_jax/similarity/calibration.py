"""A score compared with its values for wrongly paired rows.

    calibrated = (score - m) / (best - m),   z = (score - m) / s

with m, s the mean and standard deviation over shuffled pairs: 0 is chance and 1 the
best value whatever the rows and widths; raw scores show neither.
"""

from typing import NamedTuple

import jax.numpy as jnp

from helix_jax import numeric
from helix_jax.linalg import wide, wide_dtype
from helix_jax.stats.permutation import permutation_p
from helix_jax.types import Array


class Calibrated(NamedTuple):
    """A score and its place in its null distribution, [...] each.

    Attributes:
      score: as measured.
      null_mean: m.
      null_deviation: s.
      calibrated: 0 by chance, 1 at best.
      z: deviations from chance, positive for more similar, also of distances.
      p: one-sided, (1 + b) / (1 + P).
    """

    score: Array
    null_mean: Array
    null_deviation: Array
    calibrated: Array
    z: Array
    p: Array


@wide
def calibrate(score: Array, null: Array, *, best: float = 1.0) -> Calibrated:
    """Place scores in their permutation nulls.

    Args:
      score: [...].
      null: [P, ...] scores of shuffled pairs.
      best: the score of identical representations: 1 for similarities, 0 for distances
        (told apart by whether the null's mean lies below or above it).

    Returns:
      Calibrated. A null without spread gives z = NaN, one at `best` calibrated = NaN.

    Raises:
      ValueError: shapes do not fit.

    Reference: ours, after the adjusted Rand index of Hubert and Arabie 1985.
    """
    score, null = (
        jnp.asarray(numeric.numbers("calibrate", name, z), wide_dtype())
        for name, z in (("score", score), ("null", null))
    )
    smaller = permutation_p(score, null, smaller=True)
    larger = permutation_p(score, null)
    mean, spread = jnp.mean(null, axis=0), jnp.std(null, axis=0)
    rounding = 8 * jnp.finfo(null.dtype).eps * jnp.abs(mean)
    room = best - mean
    signed = (score - mean) * jnp.where(room < 0, -1, 1)
    return Calibrated(
        score,
        mean,
        spread,
        (score - mean) / jnp.where(room == 0, jnp.nan, room),
        signed / jnp.where(spread > rounding, spread, jnp.nan),
        jnp.where(room < 0, smaller, larger),
    )
