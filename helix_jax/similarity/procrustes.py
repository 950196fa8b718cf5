"""Procrustes distance: the difference left by a rotation and a scale for each side.

With both sides centred and scaled to |X| = |Y| = 1 (Frobenius), over rotations Q

    d^2 = min_Q |X Q - Y|^2 = 2 - 2 tr(Q' X' Y),

where the best Q makes the trace the sum of the singular values of X'Y. From moments,
tr(Q' cov_xy) / sqrt(tr(cov_xx) tr(cov_yy)); the narrower side is padded with zeros.
"""

import jax.numpy as jnp

from helix_jax import kinds
from helix_jax.alignment.moments import Moments, usable_moments
from helix_jax.arguments import takes
from helix_jax.linalg import product, rank_of, rounding_variance, spectrum_of, wide
from helix_jax.similarity.guards import require_rows_for_rank, require_same_widths
from helix_jax.types import Array


@takes(fit=kinds.MOMENTS, test=kinds.MOMENTS)
@wide
def procrustes_distance(
    fit: Moments, test: Moments | None = None, *, allow_few_rows: bool = False
) -> Array:
    """Distance of two representations up to shift, scale and rotation.

    Args:
      fit: Moments that the rotation is found on.
      test: Moments that it is scored on; None scores on `fit`, biased downwards.
      allow_few_rows: compute also with fewer than 5 rows for each direction.

    Returns:
      [] 0 for equal representations, sqrt(2) for unrelated ones, above only on test
      rows; NaN where a side does not vary.

    Raises:
      ValueError: fewer than 5 rows for each direction of the wider side that varies,
        widths that differ, or NaN in the moments.

    Reference: Schoenemann 1966; as a distance of representations: Williams et al. 2021,
      arXiv 2110.14739, section 2; Ding, Denain, Steinhardt 2021, arXiv 2108.01661.
    """
    who = "procrustes_distance"
    fit = usable_moments(who, fit)
    if not allow_few_rows:
        ranks = [rank_of(spectrum_of(cov).values) for cov in (fit.cov_xx, fit.cov_yy)]
        require_rows_for_rank(who, fit.count, jnp.maximum(*ranks))
    if test is None:
        shared = jnp.sum(jnp.linalg.svd(fit.cov_xy, compute_uv=False))
        return _distance(shared, fit)
    test = usable_moments(who, test)
    require_same_widths(who, fit.cov_xy.shape[0], fit.cov_yy, test)
    left, _, right = jnp.linalg.svd(fit.cov_xy, full_matrices=False)
    return _distance(jnp.sum(product(left, right) * test.cov_xy), test)


def _distance(shared: Array, m: Moments) -> Array:
    traces = jnp.stack([jnp.trace(m.cov_xx), jnp.trace(m.cov_yy)])
    rounding = [jnp.sum(rounding_variance(mean)) for mean in (m.mean_x, m.mean_y)]
    varies = jnp.all(traces > jnp.stack(rounding))
    scale = jnp.sqrt(jnp.where(varies, jnp.prod(traces), jnp.nan))
    return jnp.sqrt(jnp.maximum(2 - 2 * shared / scale, 0))
