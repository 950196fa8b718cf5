"""Mean state of each class, and the cosine to the nearest of these means.

score = 1 - max_c cos(x - mean, mu_c - mean), between 0 and 2.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from helix_jax import checks, kinds, numeric
from helix_jax.arguments import takes
from helix_jax.linalg import product, rounding_variance, unit_rows, wide, wide_dtype
from helix_jax.types import Array


class ClassMeans(NamedTuple):
    """Directions of the classes.

    Attributes:
      mean: [D] of all rows.
      directions: [C, D] unit vectors from that mean to the mean of each class; zeros
        for a class without rows.
    """

    mean: Array
    directions: Array


def class_means(
    who: str, x: Array, labels: Array, *, num_classes: int
) -> tuple[Array, Array, Array]:
    """Checked rows in the widest dtype, their class means and their overall mean.

    Args:
      who: the caller, for errors.
      x: [N, D] float.
      labels: [N] int.
      num_classes: C.

    Returns:
      x [N, D]; means [C, D], infinite for a class without rows; mean [D].

    Raises:
      ValueError: NaN, labels out of range, one class only, or states that do not vary.
    """
    checks.require_matrix(who, "x", x)
    checks.require_finite(who, "x", x)
    labels = numeric.require_labels(who, labels, num_classes, x.shape[0])
    x = jnp.asarray(x).astype(wide_dtype())
    is_label = jnp.arange(num_classes)[:, None] == jnp.asarray(labels)[None, :]
    is_label = is_label.astype(x.dtype)
    counts = jnp.sum(is_label, axis=1, keepdims=True)
    means = product(is_label, x) / jnp.where(counts > 0, counts, 1)
    mean = jnp.mean(x, axis=0)
    if checks.is_concrete(x) and not np.any(
        np.asarray(jnp.var(x, axis=0) > rounding_variance(mean))
    ):
        raise ValueError(f"{who}: the states do not vary from row to row.")
    return x, jnp.where(counts > 0, means, jnp.inf), mean


@takes(x=kinds.ARRAY, num_classes=kinds.COUNT)
@wide
def fit_class_means(x: Array, labels: Array, *, num_classes: int) -> ClassMeans:
    """Directions of the classes from the rows that a classifier was trained on.

    Args:
      x: [N, D] float, states of the fit split.
      labels: [N] int.
      num_classes: C.

    Returns:
      ClassMeans.

    Raises:
      ValueError: NaN, labels out of range, one class only, or states that do not vary.
    """
    _, means, mean = class_means("fit_class_means", x, labels, num_classes=num_classes)
    offsets = jnp.where(jnp.isfinite(means), means - mean, 0)
    return ClassMeans(mean, unit_rows(offsets))


@takes(
    fitted=kinds.record(
        "ClassMeans",
        "fit_class_means(x, labels, num_classes=C)",
        FittedDetectors="{}.classes",
    ),
    x=kinds.ARRAY,
)
@wide
def cosine_score(fitted: ClassMeans, x: Array) -> Array:
    """One minus the cosine to the nearest class direction.

    Args:
      fitted: ClassMeans of width D.
      x: [N, D] float.

    Returns:
      [N] float, in [0, 2].

    Raises:
      ValueError: another width, or NaN.

    Reference: Techapanurak, Suganuma, Okatani 2020, arXiv 1905.10628, section 3.1, with
      class means in place of weights.
    """
    checks.require_matrix("cosine_score", "x", x)
    checks.require_width("cosine_score", "x", x.shape[1], fitted.mean.shape[0])
    checks.require_finite("cosine_score", "x", x)
    rows = unit_rows(jnp.asarray(x).astype(wide_dtype()) - fitted.mean)
    known = jnp.any(fitted.directions != 0, axis=1)
    cosines = product(rows, fitted.directions.T)
    return 1 - jnp.max(jnp.where(known, cosines, -1), axis=1)
