"""The best scale of each target dimension after a given map.

With z = x kernel + bias the mapped states, for each dimension j of the target

    s_j = cov(z_j, y_j) / var(z_j),     y_hat_j = mean(y_j) + s_j (z_j - mean(z_j))

This is the diagonal scaling that adapters of retrieval indexes apply after a rotation;
an unconstrained least-squares map already has s = 1.
"""

import jax
import jax.numpy as jnp

from helix_jax import kinds
from helix_jax.alignment.maps import AffineMap
from helix_jax.alignment.moments import Moments, usable_moments
from helix_jax.alignment.path import other_widths
from helix_jax.arguments import takes
from helix_jax.linalg import product, wide


@takes(affine=kinds.AFFINE, moments=kinds.MOMENTS)
@wide
def scale_dimensions(affine: AffineMap, moments: Moments) -> AffineMap:
    """The map with a scale for each target dimension, of least squared error.

    Args:
      affine: AffineMap from dx to dy, such as a rotation.
      moments: of the rows to fit the scales on, the same widths.

    Returns:
      AffineMap; a dimension in which the map does not vary has the target's mean.

    Raises:
      ValueError: the widths differ, fewer than 2 rows, or NaN in the moments.

    Reference: Vejendla 2025, arXiv 2509.23471 (diagonal scaling); its closed form ours.
    """
    moments = usable_moments("scale_dimensions", moments)
    if affine.widths != moments.cov_xy.shape:
        raise ValueError(
            f"scale_dimensions: the map is {list(affine.widths)}, the moments are of "
            f"{list(moments.cov_xy.shape)}. {other_widths(*affine.widths, moments)}"
        )
    return _scaled(affine, moments)


@jax.jit
def _scaled(affine: AffineMap, moments: Moments) -> AffineMap:
    kernel = jnp.asarray(affine.kernel).astype(moments.cov_xx.dtype)
    shared = jnp.sum(kernel * moments.cov_xy, axis=0)
    variance = jnp.sum(kernel * product(moments.cov_xx, kernel), axis=0)
    varies = variance > 0
    scale = jnp.where(varies, shared / jnp.where(varies, variance, 1), 0)
    kernel = kernel * scale
    return AffineMap(kernel, moments.mean_y - product(moments.mean_x, kernel))
