"""Procrustes: the rotation, or rotation and scale, that brings source to target.

With cov_xy = U diag(s) V' (thin), Q = U V' and

    kernel = c Q,     c = 1, or c = sum(s) / tr(Q' cov_xx Q) with scale

For dx <= dy, Q Q' = I and lengths are kept: Q has the least squared error among all
such matrices. For dx > dy, Q' Q = I: there the least-squares problem has no closed
form, and Q maximises tr(Q' cov_xy), as does padding the target with zeros to the
source's width. For that Q, c is the scale of least error.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from helix_jax import kinds
from helix_jax.alignment.moments import Moments, usable_moments
from helix_jax.alignment.path import FitResult, MapPath, map_at
from helix_jax.arguments import takes
from helix_jax.linalg import product, rounding_variance, wide
from helix_jax.types import Array


class CrossFactors(NamedTuple):
    """Thin singular value decomposition of cov_xy, K = min(dx, dy).

    Attributes:
      left: [dx, K].
      values: [K], descending.
      right: [dy, K].
    """

    left: Array
    values: Array
    right: Array


@jax.jit
def cross_factors(cross: Array) -> CrossFactors:
    """Decompose a cross-covariance [dx, dy], or a whitened one."""
    left, values, right = jnp.linalg.svd(cross, full_matrices=False)
    return CrossFactors(left, values, right.T)


def cross_rank(values: Array, dx: int, dy: int) -> Array:
    """Number of singular values [K] of a [dx, dy] matrix above rounding."""
    level = jnp.finfo(values.dtype).eps * max(dx, dy) * jnp.max(values)
    return jnp.sum(values > level, dtype=jnp.int32)


@takes(moments=kinds.MOMENTS)
@wide
def fit_procrustes(
    moments: Moments, *, scaled: bool = False, factors: CrossFactors | None = None
) -> FitResult:
    """Orthogonal Procrustes on centred moments, semi-orthogonal for unequal widths.

    Args:
      moments: of the rows to fit on.
      scaled: with one scale for all directions.
      factors: of cov_xy, if already computed.

    Returns:
      FitResult. `rank` is that of cov_xy, limited by the number of rows: directions
      beyond it are rotated arbitrarily, and such a fit aligns even random rows.
      `condition` is largest over smallest singular value above rounding; `ok` is false
      where nothing varies together.

    Raises:
      ValueError: fewer than 2 rows, or NaN in the moments.

    Reference: see `procrustes_path`.
    """
    return map_at(procrustes_path(moments, scaled=scaled, factors=factors), 0)


@wide
def procrustes_path(
    moments: Moments, *, scaled: bool = False, factors: CrossFactors | None = None
) -> MapPath:
    """`fit_procrustes` as a path of one map.

    Reference: Schoenemann 1966, "A generalized solution of the orthogonal Procrustes
      problem", equation 1.7; Gower and Dijksterhuis 2004, "Procrustes problems",
      sections 4.2 (scale) and 8.3 (unequal widths).
    """
    moments = usable_moments("fit_procrustes", moments)
    factors = cross_factors(moments.cov_xy) if factors is None else factors
    return _procrustes_path(moments, factors, scaled)


@functools.partial(jax.jit, static_argnames="scaled")
def _procrustes_path(moments: Moments, factors: CrossFactors, scaled: bool) -> MapPath:
    dx, dy = moments.cov_xy.shape
    left, values, right = factors
    rank = cross_rank(values, dx, dy)
    scale = jnp.ones((), values.dtype)
    if scaled:
        spread = jnp.sum(left * product(moments.cov_xx, left))  # tr(Q' cov_xx Q)
        scale = jnp.sum(values) / jnp.where(spread > 0, spread, 1)
    smallest = values[jnp.maximum(rank - 1, 0)]
    noise = jnp.sqrt(
        jnp.max(rounding_variance(moments.mean_x))
        * jnp.max(rounding_variance(moments.mean_y))
    )
    return MapPath(
        jnp.zeros((1,), values.dtype),
        rank[None],
        jnp.full((1, values.shape[0]), scale),
        left,
        right,
        moments.mean_x,
        moments.mean_y,
        (values[0] / smallest)[None],
        ((rank > 0) & (values[0] > noise))[None],
    )
