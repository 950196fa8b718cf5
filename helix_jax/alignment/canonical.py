"""Canonical correlations: whiten both sides, pair the directions, colour again.

With Sx = cov_xx + rx I, Sy = cov_yy + ry I and Sx^-1/2 cov_xy Sy^-1/2 = U diag(rho) V',

    cca        kernel_k = Sx^-1/2 U_k diag(rho_k) V_k' Sy^1/2
    whitened   kernel_k = Sx^-1/2 U_k             V_k' Sy^1/2

for every number of directions k at once. The first is the best prediction of the target
through k canonical variates; at full rank it is ridge regression. The second gives the
mapped states the target's variance in each direction: no shrinkage towards the mean.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from helix_jax import checks, kinds, numeric
from helix_jax.alignment.moments import Moments, usable_moments
from helix_jax.alignment.path import MapPath
from helix_jax.alignment.procrustes import CrossFactors, cross_factors, cross_rank
from helix_jax.alignment.ranks import kept_directions, rank_grid
from helix_jax.arguments import takes
from helix_jax.linalg import (
    Spectrum,
    product,
    rank_threshold,
    rounding_variance,
    spectrum_of,
    wide,
)
from helix_jax.types import Array


@takes(moments=kinds.MOMENTS)
@wide
def canonical_factors(
    moments: Moments,
    *,
    penalty: float | Array = 1e-6,
    spectrum_x: Spectrum | None = None,
    spectrum_y: Spectrum | None = None,
) -> CrossFactors:
    """Canonical correlations and directions of regularised covariances.

    Args:
      moments: of the rows to fit on.
      penalty: added to both covariances, relative to their mean variance: positive,
        or zero with more rows than dx and dy.
      spectrum_x: of cov_xx, if already computed.
      spectrum_y: of cov_yy.

    Returns:
      CrossFactors: left = Sx^-1/2 U, so that x @ left are the canonical variates;
      values = rho, descending, at most 1; right = Sy^1/2 V, which maps the variates to
      target states. Directions without variance are left out.

    Raises:
      ValueError: fewer than 2 rows, NaN, or a penalty out of range.

    Reference: Hotelling 1936, "Relations between two sets of variates"; Vinod 1976,
      "Canonical ridge and econometrics of joint production", equation 2.3.
    """
    moments = usable_moments("canonical_factors", moments)
    dx, dy = moments.cov_xy.shape
    require_penalty("canonical_factors", penalty, moments, max(dx, dy))
    sides = [
        spectrum_of(cov) if spectrum is None else spectrum
        for cov, spectrum in (
            (moments.cov_xx, spectrum_x),
            (moments.cov_yy, spectrum_y),
        )
    ]
    return _canonical_factors(moments.cov_xy, penalty, *sides)


@jax.jit
def _canonical_factors(
    cross: Array, penalty: Array, spectrum_x: Spectrum, spectrum_y: Spectrum
) -> CrossFactors:
    (root_x, basis_x), (root_y, basis_y) = (
        (damped_roots(values, penalty), basis)
        for values, basis in (spectrum_x, spectrum_y)
    )
    inverse_x, inverse_y = (jnp.where(r > 0, 1 / r, 0) for r in (root_x, root_y))
    cross = product(basis_x.T, product(cross, basis_y))
    left, values, right = cross_factors(inverse_x[:, None] * cross * inverse_y)
    return CrossFactors(
        product(basis_x, inverse_x[:, None] * left),
        jnp.minimum(values, 1),
        product(basis_y, root_y[:, None] * right),
    )


@takes(moments=kinds.MOMENTS)
@wide
def fit_canonical(
    moments: Moments,
    *,
    ranks: Sequence[int] | None = None,
    penalty: float | Array = 1e-6,
    shrink: bool = True,
    spectrum_x: Spectrum | None = None,
    factors: CrossFactors | None = None,
) -> MapPath:
    """Maps through the first k canonical directions, for many k at once.

    Args:
      moments: of the rows to fit on.
      ranks: numbers of directions; None is `rank_grid(min(dx, dy))`.
      penalty: of `canonical_factors`.
      shrink: True is cca, False is whitened; see the top of this file.
      spectrum_x: of cov_xx, if already computed.
      factors: from `canonical_factors` at this penalty, if already computed.

    Returns:
      MapPath, P the number of ranks.

    Raises:
      ValueError: as `canonical_factors`, or ranks outside 1 to min(dx, dy).

    Reference: Izenman 1975, "Reduced-rank regression for the multivariate linear
      model", section 3 (cca); Kessy, Lewin, Strimmer 2018, arXiv 1512.00809 (whitened).
    """
    moments = usable_moments("fit_canonical", moments)
    dx, dy = moments.cov_xy.shape
    ranks = rank_grid(min(dx, dy)) if ranks is None else ranks
    keep = kept_directions("fit_canonical", ranks, min(dx, dy))
    if spectrum_x is None:
        spectrum_x = spectrum_of(moments.cov_xx)
    if factors is None:
        factors = canonical_factors(moments, penalty=penalty, spectrum_x=spectrum_x)
    return _canonical_path(moments, keep, penalty, spectrum_x, factors, shrink)


@functools.partial(jax.jit, static_argnames="shrink")
def _canonical_path(
    moments: Moments,
    keep: Array,
    penalty: Array,
    spectrum_x: Spectrum,
    factors: CrossFactors,
    shrink: bool,
) -> MapPath:
    dx, dy = moments.cov_xy.shape
    usable = jnp.arange(min(dx, dy)) < cross_rank(factors.values, dx, dy)
    gains = keep * jnp.where(usable, factors.values if shrink else 1.0, 0)
    condition, solved = inverse_quality(spectrum_x, penalty, moments.mean_x)
    return MapPath(
        jnp.full(len(keep), penalty, gains.dtype),
        jnp.sum(gains > 0, axis=1, dtype=jnp.int32),
        gains,
        factors.left,
        factors.right,
        moments.mean_x,
        moments.mean_y,
        jnp.full(len(keep), condition),
        jnp.full(len(keep), solved),
    )


@jax.jit
def damped_roots(values: Array, penalty: float | Array) -> Array:
    """Square roots of eigenvalues plus penalty times their mean; zero without variance.

    If a side does not vary, its covariance with the other is only rounding, which a
    small penalty would amplify.
    """
    damped = values + penalty * jnp.mean(values)
    return jnp.sqrt(jnp.where(values > rank_threshold(values), damped, 0))


@jax.jit
def inverse_quality(
    spectrum: Spectrum, penalty: float | Array, mean: Array
) -> tuple[Array, Array]:
    """Condition number of a damped covariance, and whether its rows vary at all."""
    values = spectrum.values
    damped = values + penalty * jnp.mean(values)
    smallest = jnp.min(jnp.where(damped > rank_threshold(values), damped, jnp.inf))
    varies = values[0] > jnp.max(rounding_variance(mean))
    return damped[0] / smallest, varies & jnp.isfinite(smallest)


def require_penalty(
    who: str, penalty: float | Array, moments: Moments, width: int
) -> None:
    """Raise unless a penalty is positive, or zero with more rows than dimensions."""
    if not checks.is_concrete(penalty, moments.count):
        return
    penalty = numeric.numbers(who, "penalty", penalty, rank=0)
    if not 0 <= float(penalty) < float("inf"):
        raise ValueError(f"{who}: penalty must not be negative, got {penalty}.")
    if float(penalty) == 0 and float(moments.count) <= width + 1:
        raise ValueError(
            f"{who}: a penalty of zero needs more than {width + 1} rows for {width} "
            f"dimensions, got {float(moments.count):g}: every correlation would be 1. "
            "Use a positive penalty."
        )
