"""The CCA family, with directions found on some rows and scored on others.

Both sides are reduced to their first principal directions, cov = V diag(s) V', and
whitened, and the singular value decomposition of the whitened cross-covariance

    diag(sx)^-1/2 Vx' cov_xy Vy diag(sy)^-1/2 = U diag(rho) W'

gives pairs of directions. On other rows direction i scores the correlation of its two
variates, and the measures are means of these:

| measure  | principal directions       | weights                             |
|----------|----------------------------|-------------------------------------|
| mean CCA | all                        | equal                               |
| SVCCA    | `rank` or `variance`       | equal                               |
| PWCCA    | all, or the same           | sum_j |cov(variate i of x, x_j)|    |

With few rows for the ranks, all of these are large for any two sets of rows (exactly 1
with no more rows than either rank), so that is refused unless asked for.

Reference: Hotelling 1936; Raghu et al. 2017, arXiv 1706.05806 (SVCCA); Morcos, Raghu,
  Bengio 2018, arXiv 1806.05759 (PWCCA).
"""

from typing import Any, NamedTuple

import jax.numpy as jnp

from helix_jax import kinds
from helix_jax.alignment.moments import Moments, usable_moments
from helix_jax.arguments import takes
from helix_jax.linalg import (
    product,
    rank_threshold,
    rounding_variance,
    spectrum_of,
    wide,
)
from helix_jax.similarity.guards import require_rows_for_rank, require_same_widths
from helix_jax.types import Array


class CanonicalDirections(NamedTuple):
    """Pairs of directions, K = min of the two ranks asked for, best first.

    Attributes:
      x: [dx, K], variates of centred rows u are u @ x; zero where not kept.
      y: [dy, K].
      correlations: [K] on the rows that they were found on.
      weights: [K] of PWCCA, sum 1.
      kept: [K] bool, the pair has variance on both sides.
    """

    x: Array
    y: Array
    correlations: Array
    weights: Array
    kept: Array


@takes(moments=kinds.MOMENTS)
@wide
def canonical_directions(
    moments: Moments,
    *,
    rank: int | None = None,
    variance: float = 1.0,
    loadings: Array | None = None,
    allow_few_rows: bool = False,
) -> CanonicalDirections:
    """Find canonical directions within the principal directions of both sides.

    Args:
      moments: of the rows to find them on.
      rank: principal directions of each side; None for all with variance.
      variance: keep the fewest directions that together hold this share of each side's
        variance, at most `rank`.
      loadings: [dx, d] neurons = x @ loadings, for PWCCA's weights, where x holds
        principal coordinates. None: x holds the neurons themselves.
      allow_few_rows: compute also with fewer than 5 rows for each rank.

    Returns:
      CanonicalDirections.

    Raises:
      ValueError: fewer than 5 (rank_x + rank_y) rows, NaN, or options out of range.
    """
    who = "canonical_directions"
    m = usable_moments(who, moments)
    dx, dy = m.cov_xy.shape
    if not 0 < variance <= 1 + 1e-12 or (rank is not None and rank < 1):
        raise ValueError(
            f"{who}: rank needs to be 1 or more and variance in (0, 1], got {rank} and "
            f"{variance}."
        )
    limit = min(rank or max(dx, dy), max(dx, dy))
    (white_x, rank_x), (white_y, rank_y) = (
        _whitening(cov, mean, min(limit, cov.shape[0]), variance)
        for cov, mean in ((m.cov_xx, m.mean_x), (m.cov_yy, m.mean_y))
    )
    if not allow_few_rows:
        require_rows_for_rank(who, m.count, rank_x + rank_y)
    cross = product(white_x.T, product(m.cov_xy, white_y))
    left, values, right = jnp.linalg.svd(cross, full_matrices=False)
    kept = jnp.arange(values.shape[0]) < jnp.minimum(rank_x, rank_y)
    x = product(white_x, left) * kept
    y = product(white_y, right.T) * kept
    shared = product(x.T, m.cov_xx)
    if loadings is not None:
        shared = product(shared, loadings)
    weights = jnp.sum(jnp.abs(shared), axis=1)
    total = jnp.sum(weights)
    weights = weights / jnp.where(total > 0, total, jnp.nan)
    return CanonicalDirections(x, y, jnp.minimum(values, 1) * kept, weights, kept)


def _whitening(
    cov: Array, mean: Array, limit: int, variance: float
) -> tuple[Array, Array]:
    """[d, limit] principal directions over their deviations, and how many are kept."""
    values, basis = spectrum_of(cov)
    level = jnp.maximum(rank_threshold(values), jnp.max(rounding_variance(mean)))
    before = jnp.cumsum(values) - values
    enough = before < variance * jnp.sum(values)
    keep = (values > level) & (enough | (variance >= 1))
    keep = keep & (jnp.arange(values.shape[0]) < limit)
    scale = jnp.where(keep, 1 / jnp.sqrt(jnp.where(keep, values, 1)), 0)
    return (basis * scale)[:, :limit], jnp.sum(keep)


@takes(directions=kinds.DIRECTIONS, moments=kinds.MOMENTS)
@wide
def score_directions(directions: CanonicalDirections, moments: Moments) -> Array:
    """Correlation of each pair of variates on other rows.

    Args:
      directions: from `canonical_directions`.
      moments: of the rows to score on.

    Returns:
      [K]; 0 where a pair was not kept or does not vary here.

    Raises:
      ValueError: the widths differ, or NaN in the moments.
    """
    m = usable_moments("score_directions", moments)
    require_same_widths("score_directions", directions.x.shape[0], directions.y, m)
    x, y = directions.x, directions.y
    shared = jnp.sum(x * product(m.cov_xy, y), axis=0)
    own = (
        jnp.sum(z * product(c, z), axis=0) for z, c in ((x, m.cov_xx), (y, m.cov_yy))
    )
    scale = jnp.sqrt(jnp.prod(jnp.maximum(jnp.stack(list(own)), 0), axis=0))
    return jnp.where(scale > 0, shared / jnp.where(scale > 0, scale, 1), 0)


@takes(fit=kinds.MOMENTS, test=kinds.MOMENTS)
@wide
def mean_cca(fit: Moments, test: Moments | None = None, **settings: Any) -> Array:
    """Mean canonical correlation; with `rank` or `variance` set, SVCCA.

    Args:
      fit: Moments that the directions are found on.
      test: Moments that they are scored on; None scores on `fit`, biased upwards.
      **settings: of `canonical_directions`.

    Returns:
      []; NaN where a side does not vary.

    Raises:
      ValueError: as `canonical_directions` and `score_directions`.
    """
    directions = canonical_directions(fit, **settings)
    kept = jnp.sum(directions.kept)
    total = jnp.sum(_correlations(directions, test))
    return total / jnp.where(kept > 0, kept, jnp.nan)


@takes(fit=kinds.MOMENTS, test=kinds.MOMENTS)
@wide
def svcca(
    fit: Moments, test: Moments | None = None, *, rank: int = 64, **settings: Any
) -> Array:
    """Mean canonical correlation within each side's first principal directions.

    Args:
      fit: Moments that principal and canonical directions are found on.
      test: Moments that they are scored on; None scores on `fit`.
      rank: principal directions of each side.
      **settings: of `canonical_directions`.

    Returns:
      []; NaN where a side does not vary.

    Raises:
      ValueError: as `mean_cca`.

    Reference: Raghu et al. 2017, arXiv 1706.05806, section 2.
    """
    return mean_cca(fit, test, rank=rank, **settings)


@takes(fit=kinds.MOMENTS, test=kinds.MOMENTS)
@wide
def pwcca(fit: Moments, test: Moments | None = None, **settings: Any) -> Array:
    """Canonical correlations weighted by how much of x their variates account for.

    Args:
      fit: Moments that directions and weights are found on; x gives the weights, so
        that exchanging the sides changes the score.
      test: Moments that they are scored on; None scores on `fit`.
      **settings: of `canonical_directions`.

    Returns:
      []; NaN where a side does not vary.

    Raises:
      ValueError: as `mean_cca`.

    Reference: Morcos, Raghu, Bengio 2018, arXiv 1806.05759, equations 2 and 3.
    """
    directions = canonical_directions(fit, **settings)
    return jnp.sum(directions.weights * _correlations(directions, test))


def _correlations(directions: CanonicalDirections, test: Moments | None) -> Array:
    if test is None:
        return directions.correlations
    return score_directions(directions, test)
