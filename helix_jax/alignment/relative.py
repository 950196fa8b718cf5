"""Relative representations: states described by their cosines to anchor rows.

With anchors x_k of the source and y_k of the same texts in the target, and a_k, b_k
their rows centred and of length one,

    r_k(x) = cos(x - mean_x, a_k)

needs no map: a model that reads r of one space reads r of the other. To return to
target states, solve b_k . (y_hat - mean_y) = c |x - mean_x| r_k(x) for y_hat by ridge,
c the ratio of both sides' root variances. The length of x cancels what the cosine
divided by, so the whole is affine:

    kernel = c A' (B B' + rho I)^-1 B

with A [K, dx] and B [K, dy] the anchors' rows. It uses K pairs where a fit uses all
rows, and is in the tables for comparison.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from helix_jax import checks, kinds, numeric
from helix_jax.alignment.moments import Moments, usable_moments
from helix_jax.alignment.path import MapPath
from helix_jax.alignment.procrustes import cross_factors, cross_rank
from helix_jax.alignment.ridge import RELATIVE_PENALTIES
from helix_jax.arguments import takes
from helix_jax.linalg import product, rounding_variance, unit_rows, wide, wide_dtype
from helix_jax.types import Array


@takes(x=kinds.ARRAY, anchors=kinds.ARRAY)
@wide
def relative_representation(x: Array, anchors: Array, *, mean: Array) -> Array:
    """Cosines of states to anchors about a mean.

    Args:
      x: [N, D] float, states.
      anchors: [K, D] float, rows of the same space.
      mean: [D] of the fit rows; zeros give the plain cosines of the reference.

    Returns:
      [N, K] float; zero for a row or an anchor at the mean itself.

    Raises:
      ValueError: widths differ, or NaN.

    Reference: Moschella et al. 2022, arXiv 2209.15430, equation 1.
    """
    who = "relative_representation"
    mean = numeric.numbers(who, "mean", mean, rank=1)
    for name, z in (("x", x), ("anchors", anchors)):
        checks.require_matrix(who, name, z)
        checks.require_finite(who, name, z)
        checks.require_width(who, name, z.shape[1], jnp.shape(mean)[0])
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    rows, directions = (
        unit_rows(jnp.asarray(z).astype(wide_dtype()) - mean) for z in (x, anchors)
    )
    return product(rows, directions.T).astype(dtype)


@takes(moments=kinds.MOMENTS, anchors_x=kinds.ARRAY, anchors_y=kinds.ARRAY)
@wide
def fit_relative(
    moments: Moments,
    anchors_x: Array,
    anchors_y: Array,
    *,
    penalties: Sequence[float] | Array = RELATIVE_PENALTIES,
) -> MapPath:
    """The affine map through relative representations, for many penalties at once.

    Args:
      moments: of the fit rows; only means and total variances are used.
      anchors_x: [K, dx] float, source states of K fit rows.
      anchors_y: [K, dy] float, target states of the same rows.
      penalties: rho relative to the mean of the squared singular values of B.

    Returns:
      MapPath, P the number of penalties.

    Raises:
      ValueError: anchors differ in rows, hold NaN, or have other widths than the
        moments; fewer than 2 rows; a penalty below zero.

    Reference: Moschella et al. 2022, arXiv 2209.15430; the way back by a
      pseudo-inverse: Maiorca et al. 2024, arXiv 2406.15057; with lengths kept: ours.
    """
    who = "fit_relative"
    moments = usable_moments(who, moments)
    checks.require_pair(who, anchors_x, anchors_y)
    for name, z, width in zip(
        ("anchors_x", "anchors_y"), (anchors_x, anchors_y), moments.cov_xy.shape
    ):
        checks.require_finite(who, name, z)
        checks.require_width(who, name, z.shape[1], width)
    penalties = jnp.atleast_1d(jnp.asarray(penalties, wide_dtype()))
    if checks.is_concrete(penalties) and not bool(jnp.all(penalties >= 0)):
        raise ValueError(f"{who}: penalties must not be negative, got {penalties}.")
    return _relative_path(
        moments, jnp.asarray(anchors_x), jnp.asarray(anchors_y), penalties
    )


@jax.jit
def _relative_path(
    moments: Moments, anchors_x: Array, anchors_y: Array, penalties: Array
) -> MapPath:
    a, b = (
        unit_rows(z.astype(wide_dtype()) - mean)
        for z, mean in ((anchors_x, moments.mean_x), (anchors_y, moments.mean_y))
    )
    left, values, right = cross_factors(b)
    rank = cross_rank(values, *b.shape)
    kept = jnp.arange(values.shape[0]) < rank
    damped = values**2 + penalties[:, None] * jnp.mean(values**2)
    variance_x, variance_y = jnp.trace(moments.cov_xx), jnp.trace(moments.cov_yy)
    scale = jnp.sqrt(variance_y / jnp.where(variance_x > 0, variance_x, jnp.inf))
    gains = scale * jnp.where(kept & (damped > 0), values / damped, 0)
    smallest = jnp.min(jnp.where(kept, damped, jnp.inf), axis=1)
    varies = variance_x > jnp.sum(rounding_variance(moments.mean_x))
    return MapPath(
        penalties,
        jnp.full(penalties.shape, rank),
        gains,
        product(a.T, left),
        right,
        moments.mean_x,
        moments.mean_y,
        damped[:, 0] / smallest,
        varies & (rank > 0) & jnp.isfinite(smallest),
    )
