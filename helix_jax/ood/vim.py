"""Virtual-logit matching: distance from the principal subspace, against the logits.

The origin o = -pinv(W') b is where the logits x W + b of a classifier are closest to
zero, and R [D, D - k] are the directions of least variance about o:

    score = alpha |(x - o) R| - logsumexp(x W + b)

alpha is such that, over the fit rows, the first term has the mean of the largest logit.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from helix_jax import checks, kinds
from helix_jax.arguments import takes
from helix_jax.linalg import product, wide, wide_dtype
from helix_jax.ood.rows import row_spectrum, wide_rows
from helix_jax.probes import Probe, predict_logits
from helix_jax.types import Array


class Vim(NamedTuple):
    """A residual subspace and its scale.

    Attributes:
      probe: Probe, the classifier.
      origin: [D].
      residual: [D, D - k] orthonormal columns.
      alpha: [] scale of the virtual logit.
    """

    probe: Probe
    origin: Array
    residual: Array
    alpha: Array


@takes(probe=kinds.PROBE, x=kinds.ARRAY)
@wide
def fit_vim(probe: Probe, x: Array, *, dimension: int | None = None) -> Vim:
    """Find the residual subspace of the rows that a classifier was trained on.

    Args:
      probe: Probe of width D.
      x: [N, D] float, states of the fit split.
      dimension: k of the principal subspace, from 1 to D - 1; None is two thirds of D,
        the reference's 512 of 768.

    Returns:
      Vim. If all rows lie in the principal subspace, alpha is zero and the score is the
      energy.

    Raises:
      ValueError: NaN, another width, fewer than 2 rows, or k out of range.

    Reference: Wang, Li, Feng, Zhang 2022, arXiv 2203.10807, equations 4 to 6.
    """
    x = wide_rows("fit_vim", x, width=probe.kernel.shape[0])
    checks.require_rows("fit_vim", x.shape[0], 2, "a covariance needs two")
    width = x.shape[1]
    dimension = max(1, 2 * width // 3) if dimension is None else dimension
    if not 1 <= dimension < width:
        raise ValueError(
            f"fit_vim: dimension needs to be from 1 to {width - 1}, got {dimension}."
        )
    kernel, bias = (
        jnp.asarray(z).astype(wide_dtype()) for z in (probe.kernel, probe.bias)
    )
    origin = -product(jnp.linalg.pinv(kernel.T), bias)
    z = x - origin
    spectrum = row_spectrum(z)
    residual = spectrum.basis[:, dimension:]
    length = jnp.mean(jnp.linalg.norm(product(z, residual), axis=1))
    largest = jnp.mean(jnp.max(product(z, kernel) + product(origin, kernel) + bias, 1))
    floor = jnp.finfo(z.dtype).eps * jnp.sqrt(width * spectrum.values[0])
    alpha = jnp.where(length > floor, largest / jnp.maximum(length, floor), 0)
    return Vim(probe, origin, residual, alpha)


@takes(
    fitted=kinds.record("Vim", "fit_vim(probe, x)", FittedDetectors="{}.vim"),
    x=kinds.ARRAY,
)
@wide
def vim_score(fitted: Vim, x: Array) -> Array:
    """Virtual logit minus the log-sum-exp of the real logits.

    Args:
      fitted: Vim of width D.
      x: [N, D] float.

    Returns:
      [N] float64 where the backend supports it.

    Raises:
      ValueError: another width, or NaN.
    """
    x = wide_rows("vim_score", x, width=fitted.origin.shape[0])
    virtual = jnp.linalg.norm(product(x - fitted.origin, fitted.residual), axis=1)
    logits = predict_logits(fitted.probe, x)
    return fitted.alpha * virtual - jax.nn.logsumexp(logits, axis=-1)
