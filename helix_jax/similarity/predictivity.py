"""How well one representation predicts another linearly, on rows not fitted on."""

from collections.abc import Sequence

from helix_jax import kinds
from helix_jax.alignment.evaluate import evaluate_map
from helix_jax.alignment.moments import Moments
from helix_jax.alignment.ridge import (
    RELATIVE_PENALTIES,
    fit_ridge,
    ridge_at,
    select_penalty,
)
from helix_jax.arguments import takes
from helix_jax.linalg import wide
from helix_jax.types import Array


@takes(fit=kinds.MOMENTS, test=kinds.MOMENTS, select=kinds.MOMENTS)
@wide
def linear_predictivity(
    fit: Moments,
    test: Moments,
    *,
    select: Moments | None = None,
    penalties: float | Sequence[float] = RELATIVE_PENALTIES,
) -> Array:
    """Test R2 of the ridge map from x to y; of least squares for a penalty of 0.

    Args:
      fit: Moments to fit on.
      test: Moments to score on.
      select: Moments to choose the penalty on; not needed for one penalty.
      penalties: relative to the mean variance of a source dimension.

    Returns:
      [] variance-weighted R2, below 0 for maps worse than a constant.

    Raises:
      ValueError: several penalties and nothing to choose on, or as `fit_ridge`,
        `select_penalty` and `evaluate_map`.

    Reference: Hoerl and Kennard 1970; as a similarity: Schrimpf et al. 2018, bioRxiv
      407007 (there for neurons).
    """
    path = fit_ridge(fit, penalties=penalties)
    if select is None:
        if path.penalties.shape[0] > 1:
            raise ValueError(
                f"linear_predictivity: {path.penalties.shape[0]} penalties need "
                "select, the moments to choose on. The test rows must not choose."
            )
        return evaluate_map(ridge_at(path, 0).map, test).r2
    return evaluate_map(select_penalty(path, select).fit.map, test).r2


@takes(moments=kinds.MOMENTS)
def swapped(moments: Moments) -> Moments:
    """The moments with x and y exchanged: the other direction of any measure."""
    count, mean_x, mean_y, cov_xx, cov_xy, cov_yy = moments
    return Moments(count, mean_y, mean_x, cov_yy, cov_xy.T, cov_xx)
