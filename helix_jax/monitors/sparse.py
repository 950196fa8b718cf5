"""Sparse directions: logistic regression with an L1 penalty, by proximal gradient.

Over w [D] and b, on states z standardised to mean 0 and variance 1,

    1/N sum_i log(1 + exp(-s_i (z_i w + b))) + penalty * most * |w|_1,    s_i = -1 or 1

with b not penalised and `most` the least penalty at which w is zero, so that penalties
are shares of it. Each step is a gradient step and a soft threshold, with momentum that
restarts where it points uphill; the path runs from the strongest penalty to the
weakest, each fit starting from the last one's.

At the optimum the gradient of the loss is -penalty sign(w_j) where w_j is not zero, and
within +-penalty elsewhere; the largest violation is the certificate.

Reference: Beck and Teboulle 2009 (FISTA), section 4; restarts: O'Donoghue and Candes
  2015, arXiv 1204.3982, section 3.2; optimality: Hastie, Tibshirani, Wainwright 2015,
  equation 3.4.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax import checks, kinds, numeric
from helix_jax.arguments import takes
from helix_jax.linalg import product, rounding_variance, wide, wide_dtype
from helix_jax.penalties import choose_best, strongest_first
from helix_jax.types import Array

SHARES = (0.7, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05, 0.03)
"""Default grid: shares of the least penalty at which all weights are zero."""

CHECKED = 10  # steps between two checks of optimality


class SparsePath(NamedTuple):
    """Sparse directions for P penalties, on states as they are, not standardised.

    Attributes:
      shares: [P] penalties as requested.
      penalties: [P] as in the objective.
      vectors: [P, D].
      biases: [P].
      violation: [P] by how much optimality fails, as a share of the penalty.
      ok: [P] bool, the violation is within the tolerance.
    """

    shares: Array
    penalties: Array
    vectors: Array
    biases: Array
    violation: Array
    ok: Array


class SparseSelection(NamedTuple):
    """The direction that is best on a select split.

    Attributes:
      vector: [D].
      bias: [].
      share: [] the chosen penalty.
      nll_nats: [P] mean negative log-likelihood of all on the select split.
      ok: [] bool, the chosen fit has converged.
    """

    vector: Array
    bias: Array
    share: Array
    nll_nats: Array
    ok: Array

    @property
    def failure(self) -> str | None:
        """Why the direction must not be used; None where it may. On the host only."""
        if bool(self.ok):
            return None
        return (
            f"the sparse direction of penalty {float(self.share):g} has not converged. "
            "Give more steps, or stronger penalties."
        )


@takes(x=kinds.ARRAY)
@wide
def fit_sparse(
    x: Array,
    labels: Array,
    *,
    shares: Sequence[float] | Array = SHARES,
    tolerance: float = 1e-3,
    max_steps: int = 4000,
) -> SparsePath:
    """Sparse logistic directions for each penalty.

    Args:
      x: [N, D] float, states.
      labels: [N] bool or 0 and 1.
      shares: [P] penalties above 0 and below 1, see the top of this file.
      tolerance: share of the penalty by which optimality may fail.
      max_steps: for each penalty, at most.

    Returns:
      SparsePath, in the order of `shares`.

    Raises:
      ValueError: one class only, NaN, states that do not vary, or a share that is not
        between 0 and 1.
    """
    checks.require_matrix("fit_sparse", "x", x)
    checks.require_finite("fit_sparse", "x", x)
    labels = numeric.require_labels("fit_sparse", labels, 2, x.shape[0])
    shares = np.asarray(shares, np.float64)
    if shares.ndim != 1 or not len(shares) or not ((shares > 0) & (shares < 1)).all():
        raise ValueError(
            "fit_sparse: shares need one or more numbers between 0 and 1, got "
            f"{shares.tolist()}."
        )
    x = jnp.asarray(x).astype(wide_dtype())
    mean, variance = jnp.mean(x, axis=0), jnp.var(x, axis=0)
    varies = variance > rounding_variance(mean)
    if checks.is_concrete(x) and not bool(jnp.any(varies)):
        raise ValueError("fit_sparse: the states do not vary from row to row.")
    scale = jnp.where(varies, 1 / jnp.sqrt(jnp.where(varies, variance, 1)), 0)
    fit = functools.partial(
        _fit_path,
        (x - mean) * scale,
        jnp.asarray(labels).astype(x.dtype),
        tolerance=tolerance,
        max_steps=max_steps,
    )
    path = strongest_first(fit, shares)
    vectors = path.vectors * scale
    biases = path.biases - product(vectors, mean)
    return path._replace(vectors=vectors, biases=biases)


@functools.partial(jax.jit, static_argnames=("tolerance", "max_steps"))
def _fit_path(
    z: Array, y: Array, shares: Array, *, tolerance: float, max_steps: int
) -> SparsePath:
    rows, width = z.shape
    share = jnp.mean(y)
    most = jnp.max(jnp.abs(product(z.T, y - share))) / rows
    penalties = shares * most
    # The loss's curvature is at most (|z|_2^2 + N) / 4N.
    steepest = jnp.linalg.eigvalsh(product(z.T, z))[-1] + rows
    length = 4 * rows / steepest

    def gradient(theta: Array) -> Array:
        miss = jax.nn.sigmoid(product(z, theta[:-1]) + theta[-1]) - y
        return jnp.append(product(z.T, miss), jnp.sum(miss)) / rows

    def violation(theta: Array, penalty: Array) -> Array:
        slope, weights = gradient(theta), theta[:-1]
        at_zero = jnp.maximum(jnp.abs(slope[:-1]) - penalty, 0)
        elsewhere = jnp.abs(slope[:-1] + penalty * jnp.sign(weights))
        worst = jnp.max(jnp.where(weights == 0, at_zero, elsewhere))
        return jnp.maximum(worst, jnp.abs(slope[-1])) / penalty

    def fit(start: Array, penalty: Array) -> tuple[Array, tuple[Array, Array]]:
        def step(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            theta, ahead, momentum = state
            moved = ahead - length * gradient(ahead)
            shrunk = jnp.maximum(jnp.abs(moved[:-1]) - length * penalty, 0)
            new = jnp.append(jnp.sign(moved[:-1]) * shrunk, moved[-1])
            uphill = jnp.sum((ahead - new) * (new - theta)) > 0
            momentum = jnp.where(uphill, 1.0, momentum)
            following = (1 + jnp.sqrt(1 + 4 * momentum**2)) / 2
            ahead = new + (momentum - 1) / following * (new - theta)
            return new, ahead, following

        def steps(carry: tuple) -> tuple:
            state, _, count = carry
            state = jax.lax.fori_loop(0, CHECKED, lambda _, own: step(own), state)
            return state, violation(state[0], penalty), count + CHECKED

        def goes_on(carry: tuple) -> Array:
            _, missed, count = carry
            return (count < max_steps) & (missed > tolerance)

        state = start, start, jnp.ones((), z.dtype)
        carry = state, jnp.full((), jnp.inf, z.dtype), 0
        (theta, _, _), missed, _ = jax.lax.while_loop(goes_on, steps, carry)
        return theta, (theta, missed)

    start = jnp.zeros(width + 1, z.dtype).at[-1].set(jnp.log(share / (1 - share)))
    _, (theta, missed) = jax.lax.scan(fit, start, penalties)
    ok = jnp.isfinite(missed) & (missed <= tolerance)
    return SparsePath(shares, penalties, theta[:, :-1], theta[:, -1], missed, ok)


@takes(x=kinds.ARRAY)
@wide
def select_sparse(path: SparsePath, x: Array, labels: Array) -> SparseSelection:
    """Choose the penalty with the least negative log-likelihood on a select split.

    Args:
      path: from `fit_sparse` on the fit split.
      x: [N, D] float, states of the select split.
      labels: [N] bool or 0 and 1.

    Returns:
      SparseSelection.

    Raises:
      ValueError: x is of another width, or holds NaN.
    """
    checks.require_matrix("select_sparse", "x", x)
    checks.require_width("select_sparse", "x", x.shape[1], path.vectors.shape[1])
    checks.require_finite("select_sparse", "x", x)
    labels = numeric.require_labels("select_sparse", labels, 2, x.shape[0], kinds=1)
    scores = product(jnp.asarray(x).astype(wide_dtype()), path.vectors.T) + path.biases
    signs = 2 * jnp.asarray(labels).astype(scores.dtype) - 1
    nll = jnp.mean(jax.nn.softplus(-signs[:, None] * scores), axis=0)
    best, _ = choose_best(-nll)
    return SparseSelection(
        path.vectors[best], path.biases[best], path.shares[best], nll, path.ok[best]
    )
