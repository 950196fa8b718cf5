"""Grids of ranks, for methods whose maps are truncated."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from helix_jax import kinds, numeric
from helix_jax.arguments import takes
from helix_jax.linalg import wide_dtype
from helix_jax.types import Array


@takes(limit=kinds.COUNT, count=kinds.COUNT)
def rank_grid(limit: int, count: int = 20) -> tuple[int, ...]:
    """At most `count` ranks from 1 to `limit`, evenly spaced by ratio."""
    if limit < 1:
        raise ValueError(f"rank_grid: limit needs to be 1 or more, got {limit}.")
    return tuple(int(r) for r in np.unique(np.geomspace(1, limit, count).round()))


def kept_directions(who: str, ranks: Sequence[int], limit: int) -> Array:
    """[P, limit] ones in the first `ranks[p]` places of each row.

    Raises:
      ValueError: no ranks, or one outside 1 to `limit`.
    """
    values = np.atleast_1d(numeric.numbers(who, "ranks", ranks))
    given = np.asarray(ranks).tolist()
    if not np.array_equal(values, np.round(values)):
        raise ValueError(f"{who}: ranks need whole numbers, got {given}.")
    if not values.size or values.ndim != 1 or values.min() < 1 or values.max() > limit:
        raise ValueError(f"{who}: ranks need to be from 1 to {limit}, got {given}.")
    return jnp.asarray(np.arange(limit) < values[:, None], wide_dtype())
