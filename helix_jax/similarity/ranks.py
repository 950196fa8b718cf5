"""Ranks of all pairs' distances without sorting them: a table of counts.

Distances are counted into 2^20 equal bins over the range that their rows allow. All
that fall into one bin share the mean of their ranks, so Spearman's correlation is that
of distances rounded to a millionth of the range; N^2 numbers are never held.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from helix_jax.linalg import wide_dtype
from helix_jax.similarity.kernels import kernel_block, tile_starts
from helix_jax.types import Array

BINS = 2**20


class RankTable(NamedTuple):
    """The ranks of one matrix's off-diagonal values, divided by their number.

    Attributes:
      scale: [] bins per unit of distance.
      ranks: [BINS] in (0, 1].
    """

    scale: Array
    ranks: Array


@functools.partial(jax.jit, static_argnames=("kernel", "block"))
def rank_tables(
    sides: tuple[Array, ...], rows: Array, *, kernel: str, block: int
) -> list[RankTable]:
    """A RankTable of each representation's distances.

    Args:
      sides: prepared rows [N', d_m], padded to whole tiles.
      rows: [] N, those that count.
      kernel: as in `kernel_block`, not negative.
      block: edge of a tile.
    """
    starts = jnp.asarray(tile_starts(sides[0].shape[0], block))
    places = jnp.arange(block)
    tables = []
    for z in sides:
        high = 2.0 if kernel in ("cosine", "correlation") else _longest(z)
        scale = BINS / jnp.where(high > 0, high, jnp.nan)

        def step(
            counts: Array, start: Array, z: Array = z, scale: Array = scale
        ) -> tuple[Array, None]:
            left, right = start[0] + places, start[1] + places
            once = (left[:, None] < right) & (right < rows)
            a, b = (jax.lax.dynamic_slice_in_dim(z, s, block) for s in start)
            bins = _bin(kernel_block(a, b, kernel), scale)
            return counts.at[jnp.where(once, bins, BINS)].add(1, mode="drop"), None

        counts, _ = jax.lax.scan(step, jnp.zeros(BINS, jnp.int32), starts)
        counts = counts.astype(wide_dtype())
        ranks = jnp.cumsum(counts) - (counts - 1) / 2
        ranks = jnp.where(jnp.isfinite(scale), ranks / jnp.sum(counts), jnp.nan)
        tables.append(RankTable(scale, ranks))
    return tables


def rank_of_values(table: RankTable, values: Array) -> Array:
    """Ranks of distances, looked up."""
    ranks = table.ranks[_bin(values, table.scale)]
    return jnp.where(jnp.isnan(values), jnp.nan, ranks)


def _longest(z: Array) -> Array:
    """An upper bound of the distance between any two rows."""
    return 2 * jnp.sqrt(jnp.max(jnp.sum(z * z, axis=1)))


def _bin(values: Array, scale: Array) -> Array:
    return jnp.clip(values * scale, 0, BINS - 1).astype(jnp.int32)
