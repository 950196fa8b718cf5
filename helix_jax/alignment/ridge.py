"""Ridge maps for every penalty from one eigendecomposition of cov_xx.

With cov_xx = V diag(s) V' and A = V' cov_xy, for each penalty

    kernel = V diag(1 / (s + ridge)) A,      bias = mean_y - mean_x kernel

The intercept is never penalised, since the moments are centred. The error on any other
rows is a quadratic form in d = 1 / (s + ridge), so that choosing among many penalties
costs three products in all and no activations.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax import checks
from helix_jax.alignment.maps import AffineMap
from helix_jax.alignment.moments import Moments
from helix_jax.linalg import (
    Spectrum,
    product,
    rank_of,
    rank_threshold,
    rounding_variance,
    spectrum_of,
    wide,
    wide_dtype,
)
from helix_jax.types import Array

RELATIVE_PENALTIES = tuple(np.logspace(-8, 1.5, 20).tolist())
"""Default grid: 1e-8 to 31.6 times the mean variance of a source dimension."""


class FitResult(NamedTuple):
    """A fitted map and whether to trust it.

    Attributes:
      map: AffineMap.
      penalty: [] as it was asked for.
      condition: [] condition number of the matrix that was inverted.
      rank: [] int, source directions whose variance is above rounding.
      ok: [] bool, the map is finite and the system was solvable in this precision.
    """

    map: AffineMap
    penalty: Array
    condition: Array
    rank: Array
    ok: Array


class RidgePath(NamedTuple):
    """Ridge maps for P penalties, in factored form.

    Attributes:
      penalties: [P] as asked for.
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


class Selection(NamedTuple):
    """The penalty chosen on a select split.

    Attributes:
      fit: FitResult for the chosen penalty.
      index: [] int, its place in the path.
      r2: [P] variance-weighted R2 of every penalty on the select split.
      at_edge: [] bool, it is the first or last of the path: widen the grid.
    """

    fit: FitResult
    index: Array
    r2: Array
    at_edge: Array


@wide
def fit_ridge(
    moments: Moments,
    *,
    penalties: Sequence[float] | Array = RELATIVE_PENALTIES,
    relative: bool = True,
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

    Returns:
      RidgePath: `ridge_at` and `ridge_maps` give maps, `select_penalty` chooses.

    Raises:
      ValueError: fewer than 2 rows, NaN in the moments, a negative penalty, or a
        penalty of zero with no more rows than source dimensions.

    Reference: Hastie, Tibshirani, Friedman 2009, equation 3.47; PAPER equation of W
      (arXiv 2603.18908), on centred moments.
    """
    moments = solvable("fit_ridge", moments)
    penalties = jnp.atleast_1d(jnp.asarray(penalties, moments.cov_xx.dtype))
    _require_penalties("fit_ridge", penalties, moments)
    dx = moments.cov_xx.shape[0]
    if relative:
        ridge = penalties * jnp.trace(moments.cov_xx) / dx
    else:
        ridge = penalties / moments.count
    spectrum = spectrum_of(moments.cov_xx)
    return RidgePath(
        penalties,
        ridge,
        spectrum,
        product(spectrum.basis.T, moments.cov_xy),
        moments.mean_x,
        moments.mean_y,
    )


@wide
def ridge_at(path: RidgePath, index: int | Array) -> FitResult:
    """The map for one penalty of a path, by its place in the path."""
    threshold = rank_threshold(path.spectrum.values)
    return solve_in_basis(path, path.ridge[index], threshold, path.penalties[index])


@wide
def ridge_maps(path: RidgePath) -> FitResult:
    """The maps for all penalties: a FitResult whose arrays have a leading axis P."""
    return jax.vmap(lambda index: ridge_at(path, index))(
        jnp.arange(path.penalties.shape[0])
    )


@wide
def select_penalty(path: RidgePath, moments: Moments) -> Selection:
    """Choose the penalty with the largest R2 on a select split, from its moments alone.

    With G = (V' cov_xx V) * (A A'), h_i = sum_j A_ij (V' cov_xy)_ij, and d as in the
    head of this file, the residual's covariance has trace
    tr(cov_yy) - 2 d'h + d' G d, to which the squared mean residual is added.

    Args:
      path: from `fit_ridge` on the fit split.
      moments: of the select split, same widths.

    Returns:
      Selection.

    Raises:
      ValueError: widths differ, fewer than 2 rows, or NaN.

    Reference: ours.
    """
    moments = solvable("select_penalty", moments)
    if moments.cov_xy.shape != path.cross.shape:
        raise ValueError(
            f"select_penalty: the path maps {list(path.cross.shape)}, the moments are "
            f"of {list(moments.cov_xy.shape)}. Use the select split of the same stores."
        )
    values, basis = path.spectrum
    shrink = jax.vmap(lambda r: _shrink(values + r, rank_threshold(values)))(path.ridge)
    quadratic = product(basis.T, product(moments.cov_xx, basis))
    quadratic = quadratic * product(path.cross, path.cross.T)
    linear = jnp.sum(path.cross * product(basis.T, moments.cov_xy), axis=1)
    total = jnp.trace(moments.cov_yy)
    spread = total - 2 * product(shrink, linear)
    spread = spread + jnp.sum(product(shrink, quadratic) * shrink, axis=1)
    shift = product(moments.mean_x - path.mean_x, basis)
    offset = moments.mean_y - path.mean_y - product(shrink * shift, path.cross)
    r2 = 1 - (spread + jnp.sum(offset**2, axis=1)) / total
    index = jnp.argmax(jnp.where(jnp.isfinite(r2), r2, -jnp.inf))
    at_edge = (index == 0) | (index == r2.shape[0] - 1)
    return Selection(ridge_at(path, index), index, r2, at_edge)


@wide
def select_by_gcv(path: RidgePath, moments: Moments) -> Selection:
    """Choose the penalty by generalised cross-validation, on the fit split's moments.

    GCV = (error / n) / (1 - f / n)^2 with f = 1 + sum_i s_i d_i the degrees of freedom
    and error / n = tr(cov_yy) - sum_i |A_i|^2 (2 d_i - s_i d_i^2). For fits that see no
    other pairs, such as encrypted ones.

    Args:
      path: from `fit_ridge` on these moments.
      moments: of the fit split; of cov_yy the trace alone is used.

    Returns:
      Selection; its r2 is 1 - GCV / tr(cov_yy), an estimate for unseen rows.

    Raises:
      ValueError: widths differ, fewer than 2 rows, or NaN.

    Reference: Golub, Heath, Wahba 1979, "Generalized cross-validation as a method for
      choosing a good ridge parameter", equation 1.4.
    """
    moments = solvable("select_by_gcv", moments)
    if moments.cov_xy.shape != path.cross.shape:
        raise ValueError(
            f"select_by_gcv: the path maps {list(path.cross.shape)}, the moments are "
            f"of {list(moments.cov_xy.shape)}. Use the moments that made the path."
        )
    values = path.spectrum.values
    shrink = jax.vmap(lambda r: _shrink(values + r, rank_threshold(values)))(path.ridge)
    energy = jnp.sum(path.cross**2, axis=1)
    total = jnp.trace(moments.cov_yy)
    error = total - jnp.sum(energy * (2 * shrink - values * shrink**2), axis=1)
    freedom = (1 + jnp.sum(values * shrink, axis=1)) / moments.count
    r2 = 1 - error / total / jnp.where(freedom < 1, (1 - freedom) ** 2, jnp.nan)
    index = jnp.argmax(jnp.where(jnp.isfinite(r2), r2, -jnp.inf))
    at_edge = (index == 0) | (index == r2.shape[0] - 1)
    return Selection(ridge_at(path, index), index, r2, at_edge)


def solve_in_basis(
    path: RidgePath, ridge: Array, threshold: Array, penalty: Array
) -> FitResult:
    """V diag(1 / (s + ridge)) A, leaving out directions not above the threshold."""
    values, basis = path.spectrum
    damped = values + ridge
    shrink = _shrink(damped, threshold)
    kernel = product(basis, shrink[:, None] * path.cross)
    bias = path.mean_y - product(path.mean_x, kernel)
    smallest = jnp.min(jnp.where(damped > threshold, damped, jnp.inf))
    finite = jnp.all(jnp.isfinite(kernel)) & jnp.all(jnp.isfinite(bias))
    varies = jnp.max(values) > jnp.max(rounding_variance(path.mean_x))
    return FitResult(
        AffineMap(kernel, bias),
        penalty,
        jnp.max(damped) / smallest,
        rank_of(values),
        finite & varies & jnp.isfinite(smallest),
    )


def _shrink(damped: Array, threshold: Array) -> Array:
    keep = damped > threshold
    return jnp.where(keep, 1 / jnp.where(keep, damped, 1), 0)


def solvable(who: str, moments: Moments) -> Moments:
    """The moments in the widest dtype, refused if of one row or not finite."""
    checks.require_rows(who, moments.count, 2, "a covariance needs two")
    for name, value in moments._asdict().items():
        if checks.is_concrete(value) and not np.isfinite(np.asarray(value)).all():
            raise ValueError(
                f"{who}: {name} of the moments holds NaN or infinity. "
                "Some activations do: accumulate() names the row."
            )
    return jax.tree.map(lambda leaf: jnp.asarray(leaf).astype(wide_dtype()), moments)


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
