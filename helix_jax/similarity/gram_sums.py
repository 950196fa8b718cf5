"""Sums over the kernel matrices of many representations of the same rows, in tiles.

CKA, its unbiased form and RSA of every pair among M representations need from their
kernel matrices K_m [N, N] only

    inner[m, l] = sum_{i != j} K_m[i, j] K_l[i, j]
    rows[m, i]  = sum_{j != i} K_m[i, j]
    diagonal[m, i] = K_m[i, i]

One tile of all M kernels is in memory at a time, only tiles on or above the diagonal
are computed, and a pair costs no more than its share of one matrix product.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from helix_jax import kinds
from helix_jax.arguments import takes
from helix_jax.linalg import product, wide, wide_dtype
from helix_jax.similarity.kernels import kernel_block, prepare_all, tile_starts
from helix_jax.similarity.ranks import RankTable, rank_of_values, rank_tables
from helix_jax.types import Array


class GramSums(NamedTuple):
    """Sums over M symmetric matrices of the same N rows; see the top of this file.

    Attributes:
      inner: [M, M].
      rows: [M, N].
      diagonal: [M, N].
    """

    inner: Array
    rows: Array
    diagonal: Array


@takes(representations=kinds.SEVERAL_ROWS)
@wide
def gram_sums(
    representations: Sequence[Any],
    *,
    kernel: str = "linear",
    ranks: bool = False,
    bandwidth: float = 1.0,
    product_dtype: Any = None,
    block_rows: int = 512,
) -> GramSums:
    """Sums over the kernel or distance matrices of M representations.

    Args:
      representations: M arrays [N, d_m] float of the same rows, widths may differ.
      kernel: linear, rbf, euclidean, cosine or correlation, see `kernels`.
      ranks: replace each matrix's off-diagonal values by their ranks (ties share a
        rank; values are distinguished to a millionth of their range).
      bandwidth: of rbf, relative to the median distance.
      product_dtype: of the tiles; None is float64 where the backend has it.
      block_rows: edge of a tile; memory is M block_rows^2.

    Returns:
      GramSums, in the widest dtype.

    Raises:
      ValueError: rows differ, are fewer than 2, hold NaN, or the kernel is unknown.
    """
    sides = prepare_all(
        "gram_sums",
        representations,
        kernel,
        2,
        bandwidth=bandwidth,
        product_dtype=product_dtype,
    )
    rows = sides[0].shape[0]
    block = min(block_rows, rows)
    padded = tuple(jnp.pad(z, ((0, -rows % block), (0, 0))) for z in sides)
    tables = None
    if ranks:
        tables = rank_tables(padded, rows, kernel=kernel, block=block)
    sums = _sums(padded, tables, rows, kernel=kernel, block=block)
    return GramSums(sums.inner, sums.rows[:, :rows], sums.diagonal[:, :rows])


@functools.partial(jax.jit, static_argnames=("kernel", "block"))
def _sums(
    sides: tuple[Array, ...],
    tables: list[RankTable] | None,
    rows: Array,
    *,
    kernel: str,
    block: int,
) -> GramSums:
    count, total = len(sides), sides[0].shape[0]
    dtype = wide_dtype()
    places = jnp.arange(block)

    def step(state: GramSums, start: Array) -> tuple[GramSums, None]:
        left, right = start[0] + places, start[1] + places
        used = (left < rows)[:, None] & (right < rows)
        tiles = []
        for number, z in enumerate(sides):
            a = jax.lax.dynamic_slice_in_dim(z, start[0], block)
            b = jax.lax.dynamic_slice_in_dim(z, start[1], block)
            tile = kernel_block(a, b, kernel)
            if tables is not None:
                tile = rank_of_values(tables[number], tile)
            tiles.append(jnp.where(used, tile, 0))
        # Kept, or XLA would compute the kernel again for each of the sums below.
        tile = jax.lax.optimization_barrier(jnp.stack(tiles)).astype(dtype)
        on_diagonal = start[0] == start[1]
        same = on_diagonal & (left[:, None] == right)
        diagonal = jnp.where(on_diagonal, jnp.sum(jnp.where(same, tile, 0), axis=2), 0)
        tile = jnp.where(same, 0, tile)
        weight = jnp.where(on_diagonal, 1, 2)
        flat = tile.reshape(count, -1)
        rows_of = _add(state.rows, jnp.sum(tile, axis=2), start[0])
        below = jnp.where(on_diagonal, 0, 1) * jnp.sum(tile, axis=1)
        return GramSums(
            state.inner + weight * product(flat, flat.T),
            _add(rows_of, below, start[1]),
            _add(state.diagonal, diagonal, start[0]),
        ), None

    nothing = jnp.zeros((count, total), dtype)
    state = GramSums(jnp.zeros((count, count), dtype), nothing, nothing)
    state, _ = jax.lax.scan(step, state, jnp.asarray(tile_starts(total, block)))
    return state


def _add(whole: Array, part: Array, start: Array) -> Array:
    old = jax.lax.dynamic_slice_in_dim(whole, start, part.shape[1], axis=1)
    return jax.lax.dynamic_update_slice_in_dim(whole, old + part, start, axis=1)
