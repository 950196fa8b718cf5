"""Permutation nulls of CKA and RSA: each matrix is computed once, then reordered.

Every such score is the inner product of two matrices that were centred and scaled to
norm 1, A . B[p][:, p] for the order p. For linear kernels with more rows than widths
the same number is |X' P Y|^2, a product of [dx, N] and [N, dy]; whichever of the two
forms is cheaper here is taken, and both are exact.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from helix_jax import checks, kinds
from helix_jax.arguments import takes
from helix_jax.linalg import product, spectrum_of, wide, wide_dtype
from helix_jax.similarity.kernels import kernel_block, prepare_all
from helix_jax.stats.permutation import permutation_null
from helix_jax.types import Array

CENTRINGS = ("cka", "unbiased", "correlation")
# One gathered entry costs about as much as this many flops of a product (measured on
# CPUs with two cores, float32: 2.6 ns against 200 GFLOP/s).
_FLOPS_A_GATHER = 500


@takes(representations=kinds.SEVERAL_ROWS)
@wide
def centred_matrices(
    representations: Sequence[Any],
    *,
    kernel: str = "linear",
    centring: str = "cka",
    ranks: bool = False,
    bandwidth: float = 1.0,
    product_dtype: Any = None,
) -> Array:
    """Kernel or distance matrices, centred, of norm 1: inner products are the scores.

    Args:
      representations: M arrays [N, d_m] float of the same rows.
      kernel: as in `gram_sums`.
      centring: cka, unbiased or correlation (for RSA).
      ranks: replace off-diagonal values by their ranks first (Spearman).
      bandwidth: of rbf.
      product_dtype: of the matrices; None is float64 where the backend has it.

    Returns:
      [M, N, N]; memory is M N^2. NaN where a representation does not vary.

    Raises:
      ValueError: as `gram_sums`, fewer than 4 rows, or an unknown centring.
    """
    who = "centred_matrices"
    if centring not in CENTRINGS:
        raise ValueError(
            f"{who}: centring needs to be one of {', '.join(CENTRINGS)}, got "
            f"{centring!r}."
        )
    sides = prepare_all(
        who,
        representations,
        kernel,
        4,
        bandwidth=bandwidth,
        product_dtype=product_dtype,
    )
    return jnp.stack([_centred(z, kernel, centring, ranks) for z in sides])


def _centred(z: Array, kernel: str, centring: str, ranks: bool) -> Array:
    n = z.shape[0]
    matrix = kernel_block(z, z, kernel)
    off = 1 - jnp.eye(n, dtype=matrix.dtype)
    if ranks:
        matrix = _ranked(matrix)
    if centring == "cka":
        rows = jnp.mean(matrix, axis=1)
        matrix = matrix - rows[:, None] - rows + jnp.mean(rows)
    elif centring == "unbiased":
        matrix = matrix * off
        rows = jnp.sum(matrix, axis=1) / (n - 2)
        whole = jnp.sum(rows) / (n - 1)
        matrix = (matrix - rows[:, None] - rows + whole) * off
    else:
        matrix = (matrix - jnp.sum(matrix * off) / (n * (n - 1))) * off
    norm = jnp.sqrt(jnp.sum(matrix**2, dtype=wide_dtype()))
    level = 64 * jnp.finfo(matrix.dtype).eps * jnp.sqrt(jnp.sum(z * z))
    return matrix / jnp.where(norm > level, norm, jnp.nan).astype(matrix.dtype)


def _ranked(matrix: Array) -> Array:
    """Mean ranks of the values above the diagonal, over their number, mirrored."""
    n = matrix.shape[0]
    left, right = jnp.triu_indices(n, 1)
    values = matrix[left, right]
    ordered = jnp.sort(values)
    below, up_to = (
        jnp.searchsorted(ordered, values, side=side, method="sort")
        for side in ("left", "right")
    )
    ranks = ((below + 1 + up_to) / (2 * values.shape[0])).astype(matrix.dtype)
    ranks = jnp.where(jnp.isnan(values), jnp.nan, ranks)
    upper = jnp.zeros_like(matrix).at[left, right].set(ranks)
    return upper + upper.T


@wide
def gram_null(
    left: Array, right: Array, *, permutations: int = 1000, key: Array | None = None
) -> Array:
    """Scores of every pair of matrices under shuffled rows.

    Args:
      left: [A, N, N] from `centred_matrices`.
      right: [B, N, N] of the same rows and settings.
      permutations: P.
      key: jax.random key; None is jax.random.key(0). Shuffles are shared by all pairs.

    Returns:
      [P, A, B] in the matrices' dtype.

    Raises:
      ValueError: shapes do not fit.
    """
    if left.ndim != 3 or left.shape[1:] != right.shape[1:]:
        raise ValueError(
            "gram_null: needs matrices [A, N, N] and [B, N, N] of the same rows, got "
            f"{list(left.shape)} and {list(right.shape)}."
        )
    return permutation_null(
        _shuffled_inner, left.shape[1], left, right, permutations=permutations, key=key
    )


def _shuffled_inner(order: Array, left: Array, right: Array) -> Array:
    shuffled = right[:, order][:, :, order].reshape(right.shape[0], -1)
    return product(left.reshape(left.shape[0], -1), shuffled.T)


@takes(x=kinds.ARRAY, y=kinds.ARRAY, key=kinds.KEY)
@wide
def linear_cka_null(
    x: Array,
    y: Array,
    *,
    permutations: int = 1000,
    key: Array | None = None,
    product_dtype: Any = None,
) -> Array:
    """Linear CKA of x and shuffled y, by the cheaper of the two forms.

    Args:
      x: [N, dx] float, source states.
      y: [N, dy] float, target states.
      permutations: P.
      key: jax.random key; None is jax.random.key(0).
      product_dtype: None is float64 where the backend has it. "float32" gives scores
        to about 1e-6 in half the time.

    Returns:
      [P]; NaN where a side does not vary.

    Raises:
      ValueError: rows differ, are fewer than 4, or hold NaN.
    """
    who = "linear_cka_null"
    checks.require_pair(who, x, y)
    settings: dict[str, Any] = {"permutations": permutations, "key": key}
    n = x.shape[0]
    rows = prepare_all(who, (x, y), "linear", 4)
    x, y = (_narrowed(z) for z in rows)
    if _FLOPS_A_GATHER * n * n < 2 * n * x.shape[1] * y.shape[1]:
        left, right = (
            centred_matrices((z,), product_dtype=product_dtype) for z in (x, y)
        )
        return gram_null(left, right, **settings)[:, 0, 0]
    dtype = product_dtype or x.dtype
    y = y.astype(dtype)
    return permutation_null(_squared_cross, n, x.T.astype(dtype), y, **settings)


def _narrowed(z: Array) -> Array:
    """Rows scaled so that CKA is the squared cross product, at most N wide.

    With more columns than rows, principal axes beyond the rows are zero.
    """
    covariance = product(z.T, z) if z.shape[1] <= z.shape[0] else product(z, z.T)
    norm = jnp.sqrt(jnp.sum(covariance**2))
    scale = jnp.sqrt(jnp.where(norm > 0, norm, jnp.nan))
    if z.shape[1] > z.shape[0]:
        values, basis = spectrum_of(covariance)
        z = basis * jnp.sqrt(values)
    return z / scale


def _squared_cross(order: Array, xt: Array, y: Array) -> Array:
    return jnp.sum(product(xt, y[order]) ** 2, dtype=wide_dtype())
