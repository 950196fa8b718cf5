"""Reduced-rank regression: the best map of each rank, from one decomposition.

With B = (cov_xx + r I)^-1 cov_xy and the eigenvectors V of cov_xy' B = V diag(t) V',

    kernel_k = B V_k V_k'

has the least penalised error among all kernels of rank k.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from helix_jax import kinds
from helix_jax.alignment.canonical import damped_roots, inverse_quality, require_penalty
from helix_jax.alignment.moments import Moments, usable_moments
from helix_jax.alignment.path import MapPath
from helix_jax.alignment.ranks import kept_directions, rank_grid
from helix_jax.arguments import takes
from helix_jax.linalg import Spectrum, product, rank_of, spectrum_of, wide
from helix_jax.types import Array


@takes(moments=kinds.MOMENTS)
@wide
def fit_reduced_rank(
    moments: Moments,
    *,
    ranks: Sequence[int] | None = None,
    penalty: float | Array = 1e-6,
    spectrum_x: Spectrum | None = None,
) -> MapPath:
    """Reduced-rank ridge regression for many ranks at once.

    Args:
      moments: of the rows to fit on.
      ranks: from 1 to min(dx, dy); None is `rank_grid(min(dx, dy))`.
      penalty: r relative to the mean variance of a source dimension, as in
        `fit_ridge`: positive, or zero with more rows than dx.
      spectrum_x: of cov_xx, if already computed.

    Returns:
      MapPath, P the number of ranks. At full rank it is the ridge map.

    Raises:
      ValueError: fewer than 2 rows, NaN, a penalty or ranks out of range.

    Reference: Izenman 1975, equation 2.7, with identity weights; Mukherjee and Zhu
      2011, "Reduced rank ridge regression and its kernel extensions", section 2.
    """
    who = "fit_reduced_rank"
    moments = usable_moments(who, moments)
    dx, dy = moments.cov_xy.shape
    ranks = rank_grid(min(dx, dy)) if ranks is None else ranks
    keep = kept_directions(who, ranks, min(dx, dy))
    require_penalty(who, penalty, moments, dx)
    spectrum = spectrum_of(moments.cov_xx) if spectrum_x is None else spectrum_x
    return _reduced_rank_path(moments, keep, penalty, spectrum)


@jax.jit
def _reduced_rank_path(
    moments: Moments, keep: Array, penalty: Array, spectrum: Spectrum
) -> MapPath:
    dx, dy = moments.cov_xy.shape
    roots = damped_roots(spectrum.values, penalty)
    inverse = jnp.where(roots > 0, 1 / roots, 0)[:, None]
    half = inverse * product(spectrum.basis.T, moments.cov_xy)
    explained = spectrum_of(product(half.T, half))
    right = explained.basis[:, : min(dx, dy)]
    gains = keep * (jnp.arange(min(dx, dy)) < rank_of(explained.values))
    condition, solved = inverse_quality(spectrum, penalty, moments.mean_x)
    return MapPath(
        jnp.full(len(keep), penalty, gains.dtype),
        jnp.sum(gains > 0, axis=1, dtype=jnp.int32),
        gains,
        product(spectrum.basis, inverse * product(half, right)),
        right,
        moments.mean_x,
        moments.mean_y,
        jnp.full(len(keep), condition),
        jnp.full(len(keep), solved),
    )
