"""Least squares: the minimum-norm map among those of least error."""

import jax.numpy as jnp

from helix_jax import checks, kinds
from helix_jax.alignment.moments import Moments, usable_moments
from helix_jax.alignment.path import FitResult, MapPath, map_at
from helix_jax.alignment.ridge import RidgePath, ridge_factors
from helix_jax.arguments import takes
from helix_jax.linalg import Spectrum, product, rank_threshold, spectrum_of, wide


@takes(moments=kinds.MOMENTS)
@wide
def fit_least_squares(
    moments: Moments, *, rcond: float | None = None, spectrum: Spectrum | None = None
) -> FitResult:
    """Minimum-norm least squares, kernel = pinv(cov_xx) cov_xy.

    Args:
      moments: of the rows to fit on, more than dx + 1 of them.
      rcond: directions with a variance of at most rcond times the largest are left
        out; None is eps * dx, where rounding starts.
      spectrum: of cov_xx, if already computed.

    Returns:
      FitResult; `rank` counts directions above rounding, `condition` is over the
      directions that were kept.

    Raises:
      ValueError: no more rows than dx + 1, NaN in the moments, or rcond outside [0, 1).

    Reference: Golub and Van Loan 2013, section 5.5.2.
    """
    return map_at(least_squares_path(moments, rcond=rcond, spectrum=spectrum), 0)


@wide
def least_squares_path(
    moments: Moments, *, rcond: float | None = None, spectrum: Spectrum | None = None
) -> MapPath:
    """`fit_least_squares` as a path of one map."""
    dx = moments.cov_xx.shape[0]
    checks.require_rows(
        "fit_least_squares",
        moments.count,
        dx + 2,
        f"with {dx} source dimensions and an intercept, fewer are fitted exactly "
        "whatever they hold; use fit_ridge with a positive penalty",
    )
    if rcond is not None and not 0 <= rcond < 1:
        raise ValueError(
            f"fit_least_squares: rcond needs to be in [0, 1), got {rcond}."
        )
    moments = usable_moments("fit_least_squares", moments)
    spectrum = spectrum_of(moments.cov_xx) if spectrum is None else spectrum
    nothing = jnp.zeros((), moments.cov_xx.dtype)
    path = RidgePath(
        nothing[None],
        nothing[None],
        spectrum,
        product(spectrum.basis.T, moments.cov_xy),
        moments.mean_x,
        moments.mean_y,
    )
    threshold = rank_threshold(spectrum.values)
    if rcond is not None:
        threshold = jnp.maximum(rcond * spectrum.values[0], 0)
    return ridge_factors(path, threshold=threshold)
