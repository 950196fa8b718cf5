"""The quality of a map, from the moments of a test split alone.

With W, b the map and the moments of the rows to test on, the residual y - xW - b has

    mean        m = mean_y - mean_x W - b
    covariance  R = cov_yy - W' cov_xy - cov_xy' W + W' cov_xx W

so that the mean squared error is diag(R) + m^2 in each dimension.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from helix_jax import kinds
from helix_jax.alignment.maps import AffineMap
from helix_jax.alignment.moments import Moments, usable_moments
from helix_jax.alignment.path import other_widths
from helix_jax.arguments import takes
from helix_jax.linalg import product, rounding_variance, spectrum_of, wide
from helix_jax.types import Array


class Evaluation(NamedTuple):
    """Scores of a map on the rows of some moments.

    Attributes:
      r2: [] variance-weighted R2: 1 - total squared error / total variance.
      r2_mean: [] mean over target dimensions of each one's R2. As in scikit-learn, a
        dimension without variance counts 1 if predicted exactly and 0 if not.
      r2_by_dimension: [dy].
      mse: [] mean over rows and target dimensions of the squared error.
      pooled_cosine: [] sum_i y_hat_i . y_i / sqrt(sum_i |y_hat_i|^2 sum_i |y_i|^2);
        `score_rows` has the mean of the cosines, which needs the rows.
      centred_cosine: [] the same with both sides' means removed.
      residual_spectrum: [dy] eigenvalues of R, descending.
      condition: [] largest over smallest singular value of the kernel.
    """

    r2: Array
    r2_mean: Array
    r2_by_dimension: Array
    mse: Array
    pooled_cosine: Array
    centred_cosine: Array
    residual_spectrum: Array
    condition: Array


@takes(affine=kinds.AFFINE, moments=kinds.MOMENTS)
@wide
def evaluate_map(affine: AffineMap, moments: Moments) -> Evaluation:
    """Score a map on held-out rows, given as their moments.

    Args:
      affine: AffineMap from dx to dy.
      moments: of the test split, the same widths.

    Returns:
      Evaluation. R2 is relative to the mean of these rows, so it is below zero for a
      map that does worse than a constant.

    Raises:
      ValueError: the widths differ, fewer than 2 rows, or NaN in the moments.
    """
    moments = usable_moments("evaluate_map", moments)
    if affine.widths != moments.cov_xy.shape:
        raise ValueError(
            f"evaluate_map: the map is {list(affine.widths)}, the moments are of "
            f"{list(moments.cov_xy.shape)}. {other_widths(*affine.widths, moments)}"
        )
    return _evaluate(affine, moments)


@jax.jit
def _evaluate(affine: AffineMap, moments: Moments) -> Evaluation:
    dtype = moments.cov_xx.dtype
    kernel, bias = (jnp.asarray(a).astype(dtype) for a in (affine.kernel, affine.bias))
    mapped_cov = product(kernel.T, product(moments.cov_xx, kernel))
    mapped_mean = product(moments.mean_x, kernel) + bias
    shared = product(kernel.T, moments.cov_xy)
    residual = moments.cov_yy - shared - shared.T + mapped_cov
    error = jnp.maximum(jnp.diagonal(residual), 0) + (moments.mean_y - mapped_mean) ** 2
    variance = jnp.diagonal(moments.cov_yy)
    varies = variance > rounding_variance(moments.mean_y)
    variance = jnp.where(varies, variance, 0)
    r2 = _r2(error, variance)
    singular = jnp.linalg.svd(kernel, compute_uv=False)
    return Evaluation(
        r2=_r2(jnp.sum(error), jnp.sum(variance)),
        r2_mean=jnp.mean(r2),
        r2_by_dimension=r2,
        mse=jnp.mean(error),
        pooled_cosine=_cosine(
            jnp.trace(shared) + product(mapped_mean, moments.mean_y),
            jnp.trace(mapped_cov) + jnp.sum(mapped_mean**2),
            jnp.sum(variance) + jnp.sum(moments.mean_y**2),
        ),
        centred_cosine=_cosine(
            jnp.trace(shared), jnp.trace(mapped_cov), jnp.sum(variance)
        ),
        residual_spectrum=spectrum_of(residual).values,
        condition=singular[0] / singular[-1],
    )


def _r2(error: Array, variance: Array) -> Array:
    constant = variance <= 0
    score = 1 - error / jnp.where(constant, 1, variance)
    return jnp.where(constant, jnp.where(error > 0, 0.0, 1.0), score)


def _cosine(inner: Array, left: Array, right: Array) -> Array:
    """inner / sqrt(left right); zero where either is zero."""
    scale = jnp.sqrt(left) * jnp.sqrt(right)
    return jnp.where(scale > 0, inner / jnp.where(scale > 0, scale, 1), 0)
