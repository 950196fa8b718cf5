"""Kernels and distances of rows, prepared once and then computed in blocks.

| name        | of rows a, b                                                  |
|-------------|---------------------------------------------------------------|
| linear      | a . b                                                         |
| rbf         | exp(-|a - b|^2 / (2 sigma^2)), sigma relative to the median   |
| euclidean   | |a - b|, a distance                                           |
| cosine      | 1 - cos(a, b), a distance                                     |
| correlation | 1 - the correlation of a's and b's entries, a distance        |

Rows are centred first (by the mean row) for the first three: this changes neither CKA
nor distances, and no precision is lost to a mean far from zero.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from helix_jax import checks
from helix_jax.linalg import product, wide_dtype
from helix_jax.types import Array

KERNELS = ("linear", "rbf")
DISTANCES = ("euclidean", "cosine", "correlation")
_MEDIAN_ROWS = 500


def prepare_rows(
    who: str, x: Any, kernel: str, *, bandwidth: float = 1.0, product_dtype: Any = None
) -> Array:
    """Rows such that `kernel_block` needs nothing but their inner products.

    Args:
      who: the function that was called, for messages.
      x: [N, D] float.
      kernel: one of KERNELS or DISTANCES.
      bandwidth: of rbf, sigma over the median distance of two rows (of evenly spaced
        ones where there are more than 500).
      product_dtype: of the result; None is float64 where the backend has it. "float32"
        is 2 to 3 times as fast on a CPU, for kernels accurate to about 1e-6.

    Returns:
      [N, D]; NaN where the kernel is undefined (rows that are all alike under rbf,
      a zero or constant row under cosine or correlation).

    Raises:
      ValueError: unknown kernel, not a matrix, NaN or infinity, or a bandwidth that is
        not positive.
    """
    if kernel not in KERNELS + DISTANCES:
        raise ValueError(
            f"{who}: kernel needs to be one of {', '.join(KERNELS + DISTANCES)}, got "
            f"{kernel!r}."
        )
    if kernel == "rbf" and not bandwidth > 0:
        raise ValueError(f"{who}: bandwidth needs to be positive, got {bandwidth}.")
    checks.require_matrix(who, "rows", x)
    checks.require_finite(who, "rows", x)
    z = jnp.asarray(x).astype(wide_dtype())
    if kernel == "correlation":
        z = z - jnp.mean(z, axis=1, keepdims=True)
    elif kernel != "cosine":
        mean = jnp.mean(z, axis=0)
        z = z - mean
        # A column that is constant up to rounding carries no information.
        level = 8 * jnp.finfo(z.dtype).eps * jnp.abs(mean)
        z = jnp.where(jnp.max(jnp.abs(z), axis=0) > level, z, 0)
    if kernel in ("cosine", "correlation"):
        norms = jnp.linalg.norm(z, axis=1, keepdims=True)
        z = z / jnp.where(norms > 0, norms, jnp.nan)
    if kernel == "rbf":
        sigma = bandwidth * median_distance(z)
        z = z / jnp.where(sigma > 0, sigma, jnp.nan)
    return z.astype(product_dtype or z.dtype)


def kernel_block(a: Array, b: Array, kernel: str) -> Array:
    """[A, B] kernel of prepared rows a [A, D] with b [B, D], in their dtype."""
    inner = product(a, b.T)
    if kernel == "linear":
        return inner
    if kernel in ("cosine", "correlation"):
        return 1 - inner
    squares = jnp.sum(a * a, axis=1)[:, None] + jnp.sum(b * b, axis=1)
    squares = jnp.maximum(squares - 2 * inner, 0)
    return jnp.exp(-squares / 2) if kernel == "rbf" else jnp.sqrt(squares)


def median_distance(x: Array) -> Array:
    """Median Euclidean distance of two different rows, of at most 500 of them."""
    rows = min(x.shape[0], _MEDIAN_ROWS)
    chosen = x[np.linspace(0, x.shape[0] - 1, rows).round().astype(int)]
    left, right = np.triu_indices(rows, 1)
    return jnp.median(kernel_block(chosen, chosen, "euclidean")[left, right])


def prepare_all(
    who: str, representations: Sequence[Any], kernel: str, minimum: int, **settings: Any
) -> tuple[Array, ...]:
    """`prepare_rows` of several representations of the same rows.

    Raises:
      ValueError: there are none, their rows differ, or are fewer than `minimum`.
    """
    rows = [np.shape(x)[0] for x in representations]
    if not rows or len(set(rows)) > 1:
        raise ValueError(
            f"{who}: needs representations of the same rows, got {rows} rows. "
            "Join the stores by text id first."
        )
    checks.require_rows(who, rows[0], minimum, "a matrix of rows by rows is centred")
    return tuple(prepare_rows(who, x, kernel, **settings) for x in representations)


def tile_starts(rows: int, block: int) -> np.ndarray:
    """[tiles, 2] first row and column of every tile on or above the diagonal."""
    tiles = -(-rows // block)
    return np.stack(np.triu_indices(tiles), axis=1) * block
