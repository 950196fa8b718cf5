"""Whether two representations have the same nearest neighbours.

With N_x(i) the k rows most similar to row i by x, where i is never its own neighbour,

    mutual k-NN = mean_i |N_x(i) & N_y(i)| / k
    CKNNA       = HSIC_1(M * K, M * L) / sqrt(HSIC_1(M_x * K, ..) HSIC_1(M_y * L, ..)),
                  M_x[i, j] = j in N_x(i),   M = M_x * M_y

Only the k neighbours of each row and their similarities are kept, so that memory is
N k for N rows; a kernel matrix is computed in tiles and discarded.

Reference: Huh, Cheung, Wang, Isola 2024, arXiv 2405.07987, appendix A, and its code,
  github.com/minyoungg/platonic-rep, whose values this reproduces (there 1e-6 is added
  to the denominator of CKNNA).
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax import checks, kinds, numeric
from helix_jax.arguments import takes
from helix_jax.linalg import product, wide, wide_dtype
from helix_jax.types import Array

_COLUMNS = 8192


class Neighbours(NamedTuple):
    """The k most similar other rows of each row.

    Attributes:
      rows: [N, k] int32, most similar first; among equals the lower row first.
      similarity: [N, k] inner products of the (normalised) rows.
    """

    rows: Array
    similarity: Array


@takes(x=kinds.ARRAY)
@wide
def nearest_neighbours(
    x: Array,
    *,
    neighbours: int = 10,
    normalise: bool = True,
    product_dtype: Any = None,
    block_rows: int = 256,
) -> Neighbours:
    """The k rows with the largest inner product with each row, in tiles.

    Args:
      x: [N, D] float.
      neighbours: k.
      normalise: scale rows to length 1, so that similarity is the cosine.
      product_dtype: of the tiles; None is float64 where the backend has it.
      block_rows: rows per tile; memory is block_rows * 8,192, besides the rows.

    Returns:
      Neighbours.

    Raises:
      ValueError: not more rows than k, NaN, or a row of zeros (if normalise).
    """
    who = "nearest_neighbours"
    checks.require_matrix(who, "x", x)
    checks.require_finite(who, "x", x)
    rows = x.shape[0]
    if not 1 <= neighbours < rows:
        raise ValueError(
            f"{who}: neighbours needs to be 1 to {rows - 1}, less than the rows, got "
            f"{neighbours}."
        )
    z = jnp.asarray(x).astype(wide_dtype())
    if normalise:
        norms = jnp.linalg.norm(z, axis=1, keepdims=True)
        if checks.is_concrete(norms) and not np.asarray(norms).all():
            row = int(np.argmin(np.asarray(norms)))
            raise ValueError(
                f"{who}: row {row} is zero and has no direction. Leave it out, or use "
                "normalise=False."
            )
        z = z / norms
    z = z.astype(product_dtype or z.dtype)
    return _nearest(z, z, k=neighbours, own=False, **_tiles(rows, rows, block_rows))


@takes(queries=kinds.ARRAY, index=kinds.ARRAY)
@wide
def nearest_rows(
    queries: Array,
    index: Array,
    *,
    neighbours: int = 10,
    product_dtype: Any = None,
    block_rows: int = 256,
) -> Neighbours:
    """The k rows of an index with the largest inner product with each query.

    Args:
      queries: [Q, D] float.
      index: [N, D] float; take `unit_rows` of both for cosines.
      neighbours: k, N at most.
      product_dtype, block_rows: as for `nearest_neighbours`.

    Returns:
      Neighbours, [Q, k].

    Raises:
      ValueError: widths that differ, fewer rows than k, or NaN.
    """
    who = "nearest_rows"
    for name, z in (("queries", queries), ("index", index)):
        checks.require_matrix(who, name, z)
        checks.require_finite(who, name, z)
    checks.require_width(who, "index", index.shape[1], queries.shape[1])
    if not 1 <= neighbours <= len(index):
        raise ValueError(
            f"{who}: neighbours needs to be 1 to {len(index)}, the rows of the index, "
            f"got {neighbours}."
        )
    dtype = product_dtype or wide_dtype()
    asking, asked = (jnp.asarray(z).astype(dtype) for z in (queries, index))
    tiles = _tiles(len(queries), len(index), block_rows)
    return _nearest(asking, asked, k=neighbours, own=True, **tiles)


def _tiles(asking: int, asked: int, block_rows: int) -> dict[str, int]:
    """Rows and columns of a tile."""
    return {"block": min(block_rows, asking), "columns": min(_COLUMNS, asked)}


@functools.partial(jax.jit, static_argnames=("k", "own", "block", "columns"))
def _nearest(
    asking: Array, asked: Array, *, k: int, own: bool, block: int, columns: int
) -> Neighbours:
    """The best k of `asked` for each row of `asking`; `own` lets a row find itself."""
    queries, rows = asking.shape[0], asked.shape[0]
    asking = jnp.pad(asking, ((0, -queries % block), (0, 0)))
    asked = jnp.pad(asked, ((0, -rows % columns), (0, 0)))

    def of_block(start: Array) -> Neighbours:
        a = jax.lax.dynamic_slice_in_dim(asking, start, block)
        asking_rows = start + jnp.arange(block, dtype=jnp.int32)

        def step(best: Neighbours, first: Array) -> tuple[Neighbours, None]:
            b = jax.lax.dynamic_slice_in_dim(asked, first, columns)
            other = first + jnp.arange(columns, dtype=jnp.int32)
            allowed = (other < rows) & (own | (asking_rows[:, None] != other))
            tile = jnp.where(allowed, product(a, b.T), -jnp.inf)
            values, places = jax.lax.top_k(tile, min(k, columns))
            values = jnp.concatenate([best.similarity, values], axis=1)
            places = jnp.concatenate([best.rows, other[places]], axis=1)
            values, chosen = jax.lax.top_k(values, k)
            return Neighbours(jnp.take_along_axis(places, chosen, 1), values), None

        nothing = Neighbours(
            jnp.zeros((block, k), jnp.int32),
            jnp.full((block, k), -jnp.inf, asking.dtype),
        )
        starts = jnp.arange(0, asked.shape[0], columns, dtype=jnp.int32)
        return jax.lax.scan(step, nothing, starts)[0]

    starts = jnp.arange(0, asking.shape[0], block, dtype=jnp.int32)
    found = jax.lax.map(of_block, starts)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, k)[:queries], found)


@takes(x=kinds.NEIGHBOURS, y=kinds.NEIGHBOURS)
@wide
def mutual_neighbours(x: Neighbours, y: Neighbours) -> Array:
    """Mean share of neighbours that both sides agree on; k / (N - 1) by chance.

    Args:
      x: Neighbours by the source states.
      y: Neighbours of the same rows by the target states, the same k.

    Returns:
      [] in [0, 1].

    Raises:
      ValueError: rows or k differ.
    """
    _require_alike("mutual_neighbours", x, y)
    return jnp.mean(jnp.any(_matches(x, y), axis=2), dtype=wide_dtype())


@takes(x=kinds.NEIGHBOURS, y=kinds.NEIGHBOURS)
@wide
def cknna(x: Neighbours, y: Neighbours) -> Array:
    """Unbiased linear CKA of the similarities of mutual neighbours only.

    Neighbourhood is not mutual, so exchanging the sides changes the score a little.

    Args:
      x: Neighbours by the source states.
      y: Neighbours of the same rows by the target states, the same k.

    Returns:
      [] about 0 by chance, 1 for equal sides; NaN where an HSIC is not positive.

    Raises:
      ValueError: rows or k differ, k is below 2, or fewer than 4 rows.
    """
    _require_alike("cknna", x, y)
    if x.rows.shape[1] < 2:
        raise ValueError("cknna: needs 2 neighbours or more, got 1.")
    checks.require_rows("cknna", x.rows.shape[0], 4, "HSIC_1 divides by n - 3")
    squares = _local_hsic(x, x) * _local_hsic(y, y)
    return _local_hsic(x, y) / jnp.sqrt(jnp.where(squares > 0, squares, jnp.nan))


def shuffled_neighbours(y: Neighbours, order: Array) -> Neighbours:
    """Neighbours after row i has been given the target state of row order[i]."""
    place = jnp.zeros_like(order).at[order].set(jnp.arange(order.shape[0]))
    return Neighbours(place.astype(y.rows.dtype)[y.rows[order]], y.similarity[order])


def _matches(x: Neighbours, y: Neighbours) -> Array:
    """[N, k, k] bool, whether x's a-th neighbour is y's b-th."""
    return x.rows[:, :, None] == y.rows[:, None, :]


def _local_hsic(x: Neighbours, y: Neighbours) -> Array:
    """HSIC_1 of M * K and M * L, both sparse with at most k values per row.

    tr(K~ L~) takes the values at (i, j) and at (j, i), so both must be in M, which is
    not symmetric.
    """
    n = x.rows.shape[0]
    matches = _matches(x, y)
    mutual = jnp.any(matches, axis=2)
    k = jnp.where(mutual, x.similarity, 0).astype(wide_dtype())
    l = jnp.sum(jnp.where(matches, y.similarity[:, None, :], 0), axis=2)  # noqa: E741
    l = l.astype(k.dtype)  # noqa: E741 - the equation's
    me = jnp.arange(n, dtype=x.rows.dtype)[:, None, None]
    returned = jnp.any((x.rows[x.rows] == me) & mutual[x.rows], axis=2)
    columns_k = jnp.zeros(n, k.dtype).at[x.rows].add(k)
    trace = jnp.sum(jnp.where(returned, k * l, 0))
    spread = jnp.sum(k) * jnp.sum(l) / ((n - 1) * (n - 2))
    crossed = product(columns_k, jnp.sum(l, axis=1))
    return (trace + spread - 2 / (n - 2) * crossed) / (n * (n - 3))


def _require_alike(who: str, x: Neighbours, y: Neighbours) -> None:
    if x.rows.shape != y.rows.shape:
        raise ValueError(
            f"{who}: both sides need the same rows and neighbours, got "
            f"{list(x.rows.shape)} and {list(y.rows.shape)}."
        )
    for side in (x, y):
        flat = side.rows.reshape(-1)
        numeric.whole_numbers(who, "neighbours", flat, below=side.rows.shape[0])
