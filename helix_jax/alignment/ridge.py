"""Ridge maps for every penalty from one eigendecomposition of cov_xx.

With cov_xx = V diag(s) V' and A = V' cov_xy, for each penalty

    kernel = V diag(1 / (s + ridge)) A,      bias = mean_y - mean_x kernel

The intercept is never penalised, since the moments are centred.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax import checks, kinds
from helix_jax.alignment.moments import Moments, usable_moments
from helix_jax.alignment.path import (
    FitResult,
    MapPath,
    Selection,
    map_at,
    path_maps,
    require_place,
    require_widths,
    select_map,
)
from helix_jax.arguments import takes
from helix_jax.linalg import (
    Spectrum,
    product,
    rank_of,
    rank_threshold,
    rounding_variance,
    spectrum_of,
    wide,
)
from helix_jax.penalties import choose_best
from helix_jax.types import Array

RELATIVE_PENALTIES = tuple(np.logspace(-8, 1.5, 20).tolist())
"""Default grid: 1e-8 to 31.6 times the mean variance of a source dimension."""


class RidgePath(NamedTuple):
    """Ridge maps for P penalties, in factored form.

    Attributes:
      penalties: [P] as requested.
      ridge: [P] the same, as added to the eigenvalues of cov_xx.
      spectrum: of cov_xx.
      cross: [dx, dy] cov_xy in the basis of the spectrum.
      mean_x: [dx].
      mean_y: [dy].
    """

    penalties: Array
    ridge: Array
    spectrum: Spectrum
    cross: Array
    mean_x: Array
    mean_y: Array


@takes(moments=kinds.MOMENTS)
@wide
def fit_ridge(
    moments: Moments,
    *,
    penalties: Sequence[float] | Array = RELATIVE_PENALTIES,
    relative: bool = True,
    spectrum: Spectrum | None = None,
) -> RidgePath:
    """Ridge regression of y on x for many penalties at once.

    Minimises sum_i ||x_i W + b - y_i||^2 + lambda ||W||^2 over W and b, with
    lambda = penalty (relative=False, the paper's), or
    lambda = penalty * n * trace(cov_xx) / dx (relative=True): scale-free, and the same
    for any number of rows.

    Args:
      moments: of the rows to fit on.
      penalties: [P] or a scalar, not negative.
      relative: see above.
      spectrum: of cov_xx, if already computed.

    Returns:
      RidgePath: `ridge_at` and `ridge_maps` give maps, `select_penalty` chooses.

    Raises:
      ValueError: fewer than 2 rows, NaN in the moments, a negative penalty, or a
        penalty of zero with no more rows than source dimensions.

    Reference: Hastie, Tibshirani, Friedman 2009, equation 3.47; arXiv 2603.18908, the
      equation of W, on centred moments.
    """
    moments = usable_moments("fit_ridge", moments)
    penalties = jnp.atleast_1d(jnp.asarray(penalties, moments.cov_xx.dtype))
    _require_penalties("fit_ridge", penalties, moments)
    dx = moments.cov_xx.shape[0]
    if relative:
        ridge = penalties * jnp.trace(moments.cov_xx) / dx
    else:
        ridge = penalties / moments.count
    spectrum = spectrum_of(moments.cov_xx) if spectrum is None else spectrum
    return RidgePath(
        penalties,
        ridge,
        spectrum,
        product(spectrum.basis.T, moments.cov_xy),
        moments.mean_x,
        moments.mean_y,
    )


@jax.jit
def ridge_factors(path: RidgePath, *, threshold: Array | None = None) -> MapPath:
    """The same maps as a MapPath: left = V, gains = 1 / (s + ridge), right = A'.

    Args:
      path: from `fit_ridge`.
      threshold: [] directions with s + ridge not above it are left out; None is where
        rounding starts.

    Returns:
      MapPath.
    """
    values, basis = path.spectrum
    if threshold is None:
        threshold = rank_threshold(values)
    damped = values + path.ridge[:, None]
    smallest = jnp.min(jnp.where(damped > threshold, damped, jnp.inf), axis=1)
    varies = jnp.max(values) > jnp.max(rounding_variance(path.mean_x))
    return MapPath(
        path.penalties,
        jnp.full(path.penalties.shape, rank_of(values)),
        _shrink(damped, threshold),
        basis,
        path.cross.T,
        path.mean_x,
        path.mean_y,
        jnp.max(damped, axis=1) / smallest,
        varies & jnp.isfinite(smallest),
    )


@takes(path=kinds.RIDGE_PATH.but(MapPath="map_at({}, index)"))
@wide
def ridge_at(path: RidgePath, index: int | Array) -> FitResult:
    """The map for one penalty of a path, by its place in the path.

    Raises:
      ValueError, TypeError: there is no such place.
    """
    require_place("ridge_at", index, path.penalties.shape[0])
    return map_at(ridge_factors(path), index)


@takes(path=kinds.RIDGE_PATH.but(MapPath="path_maps({})"))
@wide
def ridge_maps(path: RidgePath) -> FitResult:
    """The maps for all penalties: a FitResult whose arrays have a leading axis P."""
    return path_maps(ridge_factors(path))


@takes(
    path=kinds.RIDGE_PATH.but(MapPath="select_map({}, moments)"), moments=kinds.MOMENTS
)
@wide
def select_penalty(path: RidgePath, moments: Moments) -> Selection:
    """Choose the penalty with the largest R2 on a select split, from its moments alone.

    Args:
      path: from `fit_ridge` on the fit split.
      moments: of the select split, same widths.

    Returns:
      Selection.

    Raises:
      ValueError: widths differ, fewer than 2 rows, or NaN.

    Reference: ours; see path.py.
    """
    moments = usable_moments("select_penalty", moments)
    dx, dy = path.cross.shape
    require_widths("select_penalty", dx, dy, moments)
    return select_map(ridge_factors(path), moments)


@takes(path=kinds.RIDGE_PATH, moments=kinds.MOMENTS)
@wide
def select_by_gcv(
    path: RidgePath, moments: Moments, *, noise: Array | None = None
) -> Selection:
    """Choose the penalty by generalised cross-validation, on the fit split's moments.

    GCV = (error / n) / (1 - f / n)^2 with f = 1 + sum_i s_i d_i the degrees of freedom
    and error / n = tr(cov_yy) - sum_i |A_i|^2 (2 d_i - s_i d_i^2). For fits that see no
    other pairs, such as encrypted ones.

    Noise of a known size in cov_xy adds t_i = sum_jk (V_ji noise_jk)^2 to |A_i|^2;
    adding 2 d_i t_i to the error makes it right on average.

    Args:
      path: from `fit_ridge` on these moments.
      moments: of the fit split; only the trace of cov_yy is used.
      noise: [dx, dy] standard deviations of noise that was added to cov_xy, such as
        for differential privacy; None for none.

    Returns:
      Selection; its r2 is 1 - GCV / tr(cov_yy), an estimate for unseen rows.

    Raises:
      ValueError: widths differ, fewer than 2 rows, or NaN.

    Reference: Golub, Heath, Wahba 1979, "Generalized cross-validation as a method for
      choosing a good ridge parameter", equation 1.4. Noise: ours.
    """
    moments = usable_moments("select_by_gcv", moments)
    dx, dy = path.cross.shape
    require_widths("select_by_gcv", dx, dy, moments)
    values = path.spectrum.values
    shrink = _shrink(values + path.ridge[:, None], rank_threshold(values))
    energy = jnp.sum(path.cross**2, axis=1)
    total = jnp.trace(moments.cov_yy)
    error = total - jnp.sum(energy * (2 * shrink - values * shrink**2), axis=1)
    if noise is not None:
        checks.require_shape("select_by_gcv", "noise", noise, moments.cov_xy.shape)
        spread = jnp.sum(jnp.asarray(noise, values.dtype) ** 2, axis=1)
        added = product((path.spectrum.basis**2).T, spread)
        error = error + 2 * jnp.sum(added * shrink, axis=1)
    freedom = (1 + jnp.sum(values * shrink, axis=1)) / moments.count
    r2 = 1 - error / total / jnp.where(freedom < 1, (1 - freedom) ** 2, jnp.nan)
    index, at_edge = choose_best(r2)
    return Selection(ridge_at(path, index), index, r2, at_edge)


def _shrink(damped: Array, threshold: Array) -> Array:
    keep = damped > threshold
    return jnp.where(keep, 1 / jnp.where(keep, damped, 1), 0)


def _require_penalties(who: str, penalties: Any, moments: Moments) -> None:
    if not checks.is_concrete(penalties, moments):
        return
    values, rows = np.asarray(penalties), float(moments.count)
    dx = moments.cov_xx.shape[0]
    if values.ndim != 1 or not values.size or not (values >= 0).all():
        raise ValueError(
            f"{who}: penalties need one or more numbers, none negative, "
            f"got {values.tolist()}."
        )
    if rows <= dx and (values == 0).any():
        raise ValueError(
            f"{who}: a penalty of zero needs more rows than source dimensions, got "
            f"{rows:g} rows for {dx}: the map would pass through every row. "
            "Use a positive penalty."
        )
