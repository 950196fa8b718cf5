"""Linear centred kernel alignment, from streamed moments.

    CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)),    K = X X', L = Y Y'

The plain estimate is biased upwards when rows are few for the widths: independent
spaces much wider than there are rows score near 1. The unbiased one scores about 0.
"""

import jax.numpy as jnp

from helix_jax import checks, kinds
from helix_jax.alignment.moments import Moments, usable_moments
from helix_jax.arguments import takes
from helix_jax.linalg import rounding_variance, wide
from helix_jax.similarity.norm_moments import NormMoments
from helix_jax.types import Array


@takes(moments=kinds.MOMENTS)
@wide
def linear_cka(moments: Moments) -> Array:
    """Linear CKA, |cov_xy|^2 / (|cov_xx| |cov_yy|) in Frobenius norms.

    Args:
      moments: of paired rows.

    Returns:
      [] in [0, 1]; NaN where a side does not vary.

    Raises:
      ValueError: fewer than 2 rows, or NaN in the moments.

    Reference: Kornblith et al. 2019, arXiv 1905.00414, section 3 and table 1.
    """
    m = usable_moments("linear_cka", moments)
    ratio = _ratio(jnp.sum(m.cov_xy**2), jnp.sum(m.cov_xx**2), jnp.sum(m.cov_yy**2))
    return jnp.where(_both_vary(m), ratio, jnp.nan)


@takes(record=kinds.NORM_MOMENTS)
@wide
def unbiased_linear_cka(record: NormMoments) -> Array:
    """Linear CKA with the unbiased estimate of each HSIC.

    Args:
      record: NormMoments of paired rows, each counted once.

    Returns:
      [] at most 1, around 0 (and as often below) for independent spaces; NaN where a
      side does not vary.

    Raises:
      ValueError: fewer than 4 rows, or NaN in the moments.

    Reference: Song et al. 2012, "Feature selection via dependence maximization",
      equation 5; Nguyen, Raghu, Kornblith 2021, arXiv 2010.15327, equation 3.
    """
    checks.require_rows(
        "unbiased_linear_cka", record.moments.count, 4, "HSIC_1 divides by n - 3"
    )
    m = usable_moments("unbiased_linear_cka", record.moments)
    k, l = jnp.trace(m.cov_xx), jnp.trace(m.cov_yy)  # noqa: E741 - the equation's
    ratio = _ratio(
        _hsic(m.count, m.cov_xy, record.kl, k, l),
        _hsic(m.count, m.cov_xx, record.kk, k, k),
        _hsic(m.count, m.cov_yy, record.ll, l, l),
    )
    return jnp.where(_both_vary(m), ratio, jnp.nan)


def _hsic(n: Array, cov: Array, kl: Array, k: Array, l: Array) -> Array:  # noqa: E741
    """HSIC_1 of linear kernels without a Gram matrix.

    On centred rows the kernel without its diagonal, K~, has row sums -k_i, so

        tr(K~ L~) = n^2 |cov|^2 - n E[k l],   1'K~1 = -n E[k],   1'K~L~1 = n E[k l]

    and HSIC_1 does not change when rows are centred.
    """
    spread = jnp.sum(cov**2) - kl / (n - 2) + k * l / ((n - 1) * (n - 2))
    return n * spread / (n - 3)


def _ratio(shared: Array, left: Array, right: Array) -> Array:
    scale = jnp.sqrt(jnp.maximum(left, 0)) * jnp.sqrt(jnp.maximum(right, 0))
    return shared / jnp.where(scale > 0, scale, jnp.nan)


def _both_vary(m: Moments) -> Array:
    return (jnp.trace(m.cov_xx) > jnp.sum(rounding_variance(m.mean_x))) & (
        jnp.trace(m.cov_yy) > jnp.sum(rounding_variance(m.mean_y))
    )
