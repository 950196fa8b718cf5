"""A linear one-class score: least squares of the constant 1 on the states.

    w = (E[x x'] + r I)^-1 E[x],     score = |1 - x' w|

The hyperplane x'w = 1 is fitted to the in-distribution rows without labels, logits or
distances. A score takes one inner product per row, which an encrypted linear layer can
also compute.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from helix_jax import checks, kinds, numeric
from helix_jax.arguments import takes
from helix_jax.linalg import product, spectrum_of, wide, wide_dtype
from helix_jax.types import Array


class OneClass(NamedTuple):
    """The normal of the fitted hyperplane, weights [D]."""

    weights: Array


@takes(mean=kinds.ARRAY.but(Moments="{}.mean_y, {}.cov_yy"), covariance=kinds.ARRAY)
@wide
def fit_one_class(mean: Array, covariance: Array, *, penalty: float = 1e-3) -> OneClass:
    """Fit from the first two moments of the in-distribution rows.

    Args:
      mean: [D], such as `moments.mean_y`.
      covariance: [D, D], such as `moments.cov_yy`.
      penalty: r relative to the mean second moment of a dimension; positive.

    Returns:
      OneClass.

    Raises:
      ValueError: NaN, shapes that differ, a penalty not above zero, or a mean of zero,
        for which there is no such hyperplane.

    Reference: Choi 2009, "Least squares one-class support vector machine", equation 6,
      with a linear kernel and the hyperplane at 1.
    """
    mean, covariance = (jnp.asarray(z).astype(wide_dtype()) for z in (mean, covariance))
    mean = numeric.numbers("fit_one_class", "mean", mean, rank=1)
    if covariance.shape != mean.shape * 2:
        raise ValueError(
            f"fit_one_class: covariance needs shape {list(mean.shape * 2)}, got "
            f"{list(covariance.shape)}."
        )
    checks.require_finite("fit_one_class", "mean", mean)
    checks.require_finite("fit_one_class", "covariance", covariance)
    if checks.is_concrete(covariance):
        found = np.asarray(covariance)
        near = 1e-4 * np.abs(found).max(initial=0)  # rounding of half precision
        if np.abs(found - found.T).max() > near or found.diagonal().min() < -near:
            raise ValueError(
                "fit_one_class: covariance needs to be symmetric, without negative "
                "variances. Use moments.cov_yy, or np.cov(rows.T)."
            )
    if not penalty > 0:
        raise ValueError(f"fit_one_class: penalty must be positive, got {penalty}.")
    if checks.is_concrete(mean) and not bool(jnp.any(mean != 0)):
        raise ValueError(
            "fit_one_class: the mean is zero, so no hyperplane fits the rows. Use "
            "states that are not centred."
        )
    values, basis = spectrum_of(covariance + jnp.outer(mean, mean))
    damped = values + penalty * jnp.mean(values)
    return OneClass(product(basis, product(mean, basis) / damped))


@takes(
    fitted=kinds.record(
        "OneClass", "fit_one_class(mean, covariance)", FittedDetectors="{}.one_class"
    ),
    x=kinds.ARRAY,
)
@wide
def one_class_score(fitted: OneClass, x: Array) -> Array:
    """|1 - x'w| for each row, its deviation from the hyperplane x'w = 1.

    Args:
      fitted: OneClass of width D.
      x: [N, D] float.

    Returns:
      [N] float, not negative.

    Raises:
      ValueError: another width, or NaN.
    """
    checks.require_matrix("one_class_score", "x", x)
    checks.require_width("one_class_score", "x", x.shape[1], fitted.weights.shape[0])
    checks.require_finite("one_class_score", "x", x)
    return jnp.abs(1 - product(jnp.asarray(x).astype(wide_dtype()), fitted.weights))
