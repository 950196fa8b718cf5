"""Maps that do not know the pairing: the controls that every table shows.

| control    | what it keeps                                   |
|------------|-------------------------------------------------|
| mean       | the target's mean                               |
| identity   | the source states as they are                   |
| orthogonal | means and total variance, directions at random  |
| gaussian   | the mean and covariance of the target's rows    |

`shuffled.fit_shuffled` keeps everything but the pairing of the rows.
"""

import jax.numpy as jnp
import numpy as np

from helix_jax import kinds
from helix_jax.alignment.maps import AffineMap
from helix_jax.alignment.moments import Moments, usable_moments
from helix_jax.arguments import takes
from helix_jax.linalg import product, random_orthogonal, wide, wide_dtype
from helix_jax.types import Array


@takes(moments=kinds.MOMENTS)
@wide
def mean_map(moments: Moments) -> AffineMap:
    """The zero map with the best constant, y_hat = mean_y."""
    return AffineMap(jnp.zeros_like(moments.cov_xy), jnp.asarray(moments.mean_y))


@takes(dx=kinds.COUNT, dy=kinds.COUNT)
@wide
def identity_map(dx: int, dy: int) -> AffineMap:
    """y_hat = x; with unequal widths, x truncated or padded with zeros."""
    if min(dx, dy) < 1:
        raise ValueError(
            f"identity_map: widths need to be 1 or more, got {dx} and {dy}."
        )
    return AffineMap(jnp.eye(dx, dy, dtype=wide_dtype()), jnp.zeros(dy, wide_dtype()))


@takes(moments=kinds.MOMENTS, key=kinds.KEY)
@wide
def random_orthogonal_map(moments: Moments, *, key: Array) -> AffineMap:
    """A random rotation of the source with the target's mean and total variance.

    kernel = c Q with Q orthonormal by Haar measure and c such that
    tr(kernel' cov_xx kernel) = tr(cov_yy); bias = mean_y - mean_x kernel.

    Args:
      moments: of the fit split.
      key: jax.random key.

    Returns:
      AffineMap.

    Reference: ours.
    """
    moments = usable_moments("random_orthogonal_map", moments)
    q = random_orthogonal(key, *moments.cov_xy.shape)
    variance = jnp.sum(q * product(moments.cov_xx, q))
    scale = jnp.sqrt(
        jnp.trace(moments.cov_yy) / jnp.where(variance > 0, variance, jnp.inf)
    )
    kernel = scale * q
    return AffineMap(kernel, moments.mean_y - product(moments.mean_x, kernel))


@takes(y=kinds.ARRAY)
def gaussian_like(y: Array, *, seed: int) -> np.ndarray:
    """Gaussian rows with the mean and covariance of y, and no other structure.

    Args:
      y: [N, D] float, target states.
      seed: of the draw.

    Returns:
      [N, D] of the dtype of y.

    Reference: ours; the control for maps fitted without pairs.
    """
    y = np.asarray(y)
    drawn = np.random.default_rng(seed).standard_normal(y.shape, np.float32)
    values, basis = np.linalg.eigh(np.cov(y.T))
    root = basis * np.sqrt(np.maximum(values, 0))
    rows = y.mean(axis=0) + drawn @ root.T
    return rows.astype(np.result_type(y, np.float32))
