"""Wrongly paired rows: moments and maps for the control of every map.

Target rows are permuted along one cycle through all of them, so that none keeps its
partner; everything else that a fit sees is unchanged.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax import checks, kinds
from helix_jax.alignment.accumulate import accumulate
from helix_jax.alignment.maps import AffineMap
from helix_jax.alignment.moments import Moments
from helix_jax.alignment.ridge import fit_ridge, ridge_at
from helix_jax.arguments import takes
from helix_jax.types import Array


@takes(key=kinds.KEY, rows=kinds.COUNT)
def derangement(key: Array, rows: int) -> Array:
    """A random permutation without fixed points: one cycle through all rows.

    Args:
      key: jax.random key.
      rows: N, at least 2.

    Returns:
      [N] int32, uniform among the (N - 1)! cyclic permutations.

    Raises:
      ValueError: fewer than two rows.

    Reference: Sattolo 1986, "An algorithm to generate a random cyclic permutation".
    """
    checks.require_rows("derangement", rows, 2, "one row is always its own pair")
    order = jax.random.permutation(key, rows)
    return jnp.zeros(rows, order.dtype).at[order].set(jnp.roll(order, -1))


@takes(x=kinds.ARRAY, y=kinds.ARRAY, key=kinds.KEY)
def shuffled_moments(
    x: Array, y: Array, *, key: Array, block_rows: int = 4096
) -> Moments:
    """Moments of rows whose pairing is shuffled.

    Args:
      x: [N, dx] float, source states.
      y: [N, dy] float, target states of the same texts.
      key: jax.random key of the shuffle, over all rows.
      block_rows: rows per step.

    Returns:
      Moments of x and the permuted y: those of one side alone are unchanged.

    Raises:
      ValueError: x and y differ in rows, hold NaN, or have one row.
    """
    checks.require_pair("shuffled_moments", x, y)
    order = np.asarray(derangement(key, x.shape[0]))
    return accumulate(
        (x[start : start + block_rows], y[order[start : start + block_rows]])
        for start in range(0, x.shape[0], block_rows)
    )


@takes(batches=kinds.STREAM, key=kinds.KEY)
def accumulate_with_shuffled(
    batches: Iterable[tuple[Any, Any]], *, key: Array
) -> tuple[Moments, Moments]:
    """Moments of a stream, and of its rows shuffled within each batch, in one pass.

    The shuffled targets stand beside the true ones, [y, y'], in one record of twice the
    width, whose halves are returned.

    Args:
      batches: pairs of [B, dx] and [B, dy] float arrays, as for `accumulate`. A batch
        of one row keeps its pair.
      key: jax.random key of the shuffles.

    Returns:
      Moments of (x, y), Moments of (x, y').

    Raises:
      ValueError: no rows, different rows or widths, or NaN or infinity, with the row.
    """

    def doubled() -> Iterator[tuple[Any, np.ndarray]]:
        for number, (x, y) in enumerate(batches):
            order = np.arange(len(y))
            if len(y) > 1:
                order = np.asarray(derangement(jax.random.fold_in(key, number), len(y)))
            yield x, np.concatenate([y, y[order]], axis=1)

    both = accumulate(doubled())
    width = both.mean_y.shape[0] // 2
    true, shuffled = (
        both._replace(
            mean_y=np.asarray(both.mean_y)[half],
            cov_xy=np.asarray(both.cov_xy)[:, half],
            cov_yy=np.asarray(both.cov_yy)[half, half],
        )
        for half in (slice(0, width), slice(width, 2 * width))
    )
    return true, shuffled


@takes(x=kinds.ARRAY, y=kinds.ARRAY, key=kinds.KEY)
def fit_shuffled(
    x: Array,
    y: Array,
    *,
    key: Array,
    penalty: float,
    relative: bool = True,
    block_rows: int = 4096,
) -> AffineMap:
    """The ridge map fitted on wrongly paired rows.

    Args:
      x: [N, dx] float, source states of the fit split.
      y: [N, dy] float, target states of the same texts.
      key: jax.random key of the shuffle.
      penalty: the one chosen for the true pairs.
      relative: as in `fit_ridge`.
      block_rows: rows per step.

    Returns:
      AffineMap.

    Raises:
      ValueError: x and y differ in rows, hold NaN, or have one row.
    """
    checks.require_pair("fit_shuffled", x, y)
    moments = shuffled_moments(x, y, key=key, block_rows=block_rows)
    return ridge_at(fit_ridge(moments, penalties=penalty, relative=relative), 0).map
