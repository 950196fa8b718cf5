"""Seeds as replicates: the mean over runs that differ in their seed only."""

import jax.numpy as jnp
import numpy as np
from scipy.special import stdtrit

from helix_jax import checks, numeric
from helix_jax.linalg import wide, wide_dtype
from helix_jax.stats.interval import Interval
from helix_jax.types import Array


def t_quantile(level: float, freedom: int) -> float:
    """Half width, in standard errors, of a t interval of this level."""
    if not 0 < level < 1:
        raise ValueError(f"level needs to be in (0, 1), got {level}.")
    return float(stdtrit(freedom, (1 + level) / 2))


@wide
def seed_interval(values: Array, *, level: float = 0.95) -> Interval:
    """Mean over seeds with its t interval, mean +- t_{S-1} s / sqrt(S).

    Args:
      values: [S, ...] float, a score for each seed along the first axis.
      level: coverage, exact if scores are normal over seeds.

    Returns:
      Interval of arrays [...].

    Raises:
      ValueError: fewer than two seeds, NaN or infinity, or a level outside (0, 1).

    Reference: Student 1908, "The probable error of a mean".
    """
    seeds = np.shape(values)[0] if np.ndim(values) else 1
    checks.require_rows("seed_interval", seeds, 2, "one seed says nothing of the rest")
    values = numeric.numbers("seed_interval", "values", values)
    checks.require_finite("seed_interval", "values", values)
    values = jnp.asarray(values, wide_dtype())
    mean = jnp.mean(values, axis=0)
    error = jnp.std(values, axis=0, ddof=1) / np.sqrt(seeds)
    half = t_quantile(level, seeds - 1) * error
    return Interval(mean, mean - half, mean + half)
