"""Mahalanobis distance to the nearest class, plain and relative to all rows.

With class means mu_c, one covariance S within classes, and the mean mu and covariance T
of all rows,

    mahalanobis           min_c d_c,  d_c = (x - mu_c)' S^-1 (x - mu_c)
    relative_mahalanobis  min_c d_c - (x - mu)' T^-1 (x - mu)

The second subtracts what is unusual for every class, which is most of d_c when D is
large.
"""

from typing import NamedTuple

import jax.numpy as jnp

from helix_jax import kinds
from helix_jax.arguments import takes
from helix_jax.linalg import Spectrum, product, rank_threshold, wide
from helix_jax.ood.classes import class_means
from helix_jax.ood.rows import row_spectrum, wide_rows
from helix_jax.types import Array

FITTED = kinds.record(
    "Mahalanobis",
    "fit_mahalanobis(x, labels, num_classes=C)",
    FittedDetectors="{}.mahalanobis",
)


class Mahalanobis(NamedTuple):
    """Whitened class means, and the whitening matrices.

    Attributes:
      mean: [D] of all rows.
      within: [D, D] W with W W' = S^-1.
      total: [D, D] the same for T.
      centres: [C, D] (mu_c - mean) W; infinite for a class without rows.
    """

    mean: Array
    within: Array
    total: Array
    centres: Array


@takes(x=kinds.ARRAY, num_classes=kinds.COUNT)
@wide
def fit_mahalanobis(
    x: Array, labels: Array, *, num_classes: int, penalty: float = 1e-6
) -> Mahalanobis:
    """Class means and covariances of the rows that a classifier was trained on.

    Args:
      x: [N, D] float, states of the fit split.
      labels: [N] int.
      num_classes: C. Classes without rows are left out.
      penalty: added to both covariances, relative to their mean variance. With D + C
        rows or fewer, the covariance within classes is singular, and distances to new
        rows grow as 1 / penalty along the missing directions; 0 leaves these out.

    Returns:
      Mahalanobis.

    Raises:
      ValueError: NaN, labels out of range, one class only, a negative penalty, or
        states that do not vary.

    Reference: Lee et al. 2018, arXiv 1807.03888, equation 2; Ren et al. 2021, arXiv
      2106.09022, equations 2 to 5.
    """
    who = "fit_mahalanobis"
    if not penalty >= 0:
        raise ValueError(f"{who}: penalty must not be negative, got {penalty}.")
    x, means, mean = class_means(who, x, labels, num_classes=num_classes)
    rest = x - jnp.take(means, jnp.asarray(labels).astype(int), axis=0)
    within, total = (_whitening(row_spectrum(z), penalty) for z in (rest, x - mean))
    present = jnp.all(jnp.isfinite(means), axis=1, keepdims=True)
    centres = product(jnp.where(present, means, mean) - mean, within)
    return Mahalanobis(mean, within, total, jnp.where(present, centres, jnp.inf))


def _whitening(spectrum: Spectrum, penalty: float) -> Array:
    values, basis = spectrum
    damped = values + penalty * jnp.mean(values)
    keep = damped > rank_threshold(values)
    return basis * jnp.where(keep, 1 / jnp.sqrt(jnp.where(keep, damped, 1)), 0)


@takes(fitted=FITTED, x=kinds.ARRAY)
@wide
def mahalanobis_score(fitted: Mahalanobis, x: Array) -> Array:
    """Squared distance to the nearest class.

    Args:
      fitted: Mahalanobis of width D.
      x: [N, D] float.

    Returns:
      [N] float64 where the backend supports it.

    Raises:
      ValueError: another width, or NaN.
    """
    return _nearest(fitted, _centred("mahalanobis_score", fitted, x))


@takes(fitted=FITTED, x=kinds.ARRAY)
@wide
def relative_mahalanobis_score(fitted: Mahalanobis, x: Array) -> Array:
    """Squared distance to the nearest class minus that to the mean of all rows.

    Args, Returns and Raises are those of `mahalanobis_score`.
    """
    z = _centred("relative_mahalanobis_score", fitted, x)
    return _nearest(fitted, z) - jnp.sum(product(z, fitted.total) ** 2, axis=1)


def _centred(who: str, fitted: Mahalanobis, x: Array) -> Array:
    return wide_rows(who, x, width=fitted.mean.shape[0]) - fitted.mean


def _nearest(fitted: Mahalanobis, z: Array) -> Array:
    white = product(z, fitted.within)
    known = jnp.isfinite(fitted.centres[:, :1])
    centres = jnp.where(known, fitted.centres, 0)
    squares = (
        jnp.sum(white**2, axis=1, keepdims=True)
        - 2 * product(white, centres.T)
        + jnp.sum(centres**2, axis=1)
    )
    return jnp.min(jnp.where(known[:, 0], jnp.maximum(squares, 0), jnp.inf), axis=1)
