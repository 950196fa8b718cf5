"""Newton's method with preconditioned conjugate gradients for the logistic objective.

The Hessian is close to (class curvature) x (feature covariance) + ridge, a Kronecker
product that two small eigendecompositions invert exactly. With it as preconditioner, a
Newton step takes 1 to 30 products with the features, however ill-conditioned they are.

Products run in the dtype of the features; parameters, sums and the conjugate-gradient
vectors are float64 where the backend supports it.

Reference: Nocedal and Wright 2006, algorithms 5.3 and 7.1; the preconditioner is ours.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from helix_jax.linalg import Spectrum, product, wide_dtype
from helix_jax.probes.objective import (
    Margins,
    class_curvature,
    gradient_rows,
    hessian_rows,
    margins,
)
from helix_jax.types import Array

_HIGHEST = jax.lax.Precision.HIGHEST
_BLOCK_ROWS = 4096
_SUFFICIENT = 1e-4
_SMALLEST_STEP = 2.0**-20


class Problem(NamedTuple):
    """Features and labels of N rows, and the spectrum for the preconditioner.

    Attributes:
      z: [N, D] centred features.
      is_label: [C, N] bool, one-hot.
      spectrum: of the covariance of z.
    """

    z: Array
    is_label: Array
    spectrum: Spectrum


class NewtonState(NamedTuple):
    """The state of the solver.

    Attributes:
      theta: [C, D + 1] weights, the bias in the last column.
      loss: [] objective before the last step.
      decrease: [] decrease that the quadratic model predicted for the last step.
      steps: [] int, Newton steps taken.
      products: [] int, Hessian products taken.
    """

    theta: Array
    loss: Array
    decrease: Array
    steps: Array
    products: Array


def newton(
    problem: Problem,
    ridge: Array,
    start: Array,
    *,
    tolerance: float,
    max_steps: int,
    max_products: int,
) -> NewtonState:
    """Minimise the objective for one ridge.

    Args:
      problem: Problem.
      ridge: [] positive.
      start: [C, D + 1] initial theta.
      tolerance: stop after a step whose predicted decrease is at most this share of the
        loss; that step is taken, so the remaining gap is far smaller.
      max_steps: maximum number of Newton steps.
      max_products: maximum number of Hessian products in one step.

    Returns:
      NewtonState; converged if decrease <= tolerance * loss.
    """

    def go_on(state: NewtonState) -> Array:
        short = state.decrease > tolerance * state.loss
        return short & (state.steps < max_steps)

    def step(state: NewtonState) -> NewtonState:
        theta = state.theta
        logits = _logits(problem.z, theta)
        m = margins(logits, problem.is_label)
        loss = jnp.mean(m.loss, dtype=theta.dtype) + _penalty(theta, ridge)
        rows = gradient_rows(m, problem.is_label)
        gradient = _back(problem.z, rows) + _penalised(theta, ridge)
        precondition = _kronecker_inverse(problem, m, ridge)

        def hessian(direction: Array) -> Array:
            change = _logits(problem.z, direction)
            rows = hessian_rows(m, problem.is_label, change)
            return _back(problem.z, rows) + _penalised(direction, ridge)

        direction, products = _conjugate_gradients(
            hessian, precondition, gradient, loss, tolerance, max_products
        )
        slope = jnp.sum(gradient * direction)
        size = _line_search(problem, ridge, theta, direction, logits, loss, slope)
        return NewtonState(
            theta + size * direction,
            loss,
            -slope / 2,
            state.steps + 1,
            state.products + products,
        )

    infinity, zero = jnp.asarray(jnp.inf, start.dtype), jnp.zeros((), jnp.int32)
    first = NewtonState(start, jnp.zeros((), start.dtype), infinity, zero, zero)
    return jax.lax.while_loop(go_on, step, first)


class Certificate(NamedTuple):
    """How close a solution is to the optimum, from sums in float64.

    Attributes:
      objective: [] nats.
      gradient_norm: [] Euclidean norm.
      gap: [] objective minus the minimum: g' M^-1 g / 2 with the preconditioner M.
    """

    objective: Array
    gradient_norm: Array
    gap: Array


def certify(problem: Problem, theta: Array, ridge: Array) -> Certificate:
    """Objective, gradient norm and gap at theta, with products in the widest dtype."""
    rows = problem.z.shape[0]
    size = min(rows, _BLOCK_ROWS)

    def block(
        sums: tuple[Array, Array], index: Array
    ) -> tuple[tuple[Array, Array], None]:
        # The last block is moved back to end at the last row; the rows that it repeats
        # have weight 0.
        start = jnp.minimum(index * size, rows - size)
        z = jax.lax.dynamic_slice_in_dim(problem.z, start, size)
        is_label = jax.lax.dynamic_slice_in_dim(problem.is_label, start, size, axis=1)
        fresh = start + jnp.arange(size) >= index * size
        z = z.astype(wide_dtype())
        m = margins(_logits(z, theta), is_label)
        gradient = _back(z, jnp.where(fresh, gradient_rows(m, is_label), 0))
        loss = jnp.sum(jnp.where(fresh, m.loss, 0))
        return (sums[0] + loss / rows, sums[1] + gradient * (size / rows)), None

    nothing = (jnp.zeros((), theta.dtype), jnp.zeros_like(theta))
    (loss, gradient), _ = jax.lax.scan(block, nothing, jnp.arange(-(-rows // size)))
    gradient = gradient + _penalised(theta, ridge)
    m = margins(_logits(problem.z, theta), problem.is_label)
    newton_step = _kronecker_inverse(problem, m, ridge)(gradient)
    return Certificate(
        loss + _penalty(theta, ridge),
        jnp.sqrt(jnp.sum(gradient**2)),
        jnp.sum(gradient * newton_step) / 2,
    )


def _logits(z: Array, theta: Array) -> Array:
    """[C, N] logits of features z [N, D], in the dtype of z."""
    theta = theta.astype(z.dtype)
    kernel, bias = theta[:, :-1], theta[:, -1:]
    return jnp.einsum("cd,nd->cn", kernel, z, precision=_HIGHEST) + bias


def _back(z: Array, rows: Array) -> Array:
    """[C, D + 1] mean over n of rows[c, n] (z[n], 1)."""
    kernel = product(rows, z).astype(wide_dtype())
    bias = jnp.sum(rows, axis=1, keepdims=True, dtype=wide_dtype())
    return jnp.concatenate([kernel, bias], axis=1) / z.shape[0]


def _penalty(theta: Array, ridge: Array) -> Array:
    return ridge / 2 * jnp.sum(theta[:, :-1] ** 2)


def _penalised(theta: Array, ridge: Array) -> Array:
    return (ridge * theta).at[:, -1].set(0)


def _kronecker_inverse(
    problem: Problem, m: Margins, ridge: Array
) -> Callable[[Array], Array]:
    """Inverse of (class curvature) x (covariance) + ridge, as a function of [C, D + 1].

    Bias directions without curvature, such as an equal change of all classes, become
    zero.
    """
    dtype = problem.z.dtype
    values, basis = problem.spectrum
    curvature, classes = jnp.linalg.eigh(class_curvature(m, problem.is_label))
    curvature = jnp.maximum(curvature, 0)
    flat = curvature <= jnp.finfo(dtype).eps * curvature.size * jnp.max(curvature)
    for_bias = jnp.where(flat, 0, 1 / jnp.where(flat, 1, curvature))[:, None]
    for_kernel = (1 / (curvature[:, None] * values + ridge)).astype(dtype)

    def inverse(g: Array) -> Array:
        # Rescaled first: float32 squares of small gradients would underflow.
        size = jnp.maximum(jnp.max(jnp.abs(g)), jnp.finfo(g.dtype).tiny)
        rotated = product(classes.T, (g / size).astype(dtype))
        kernel = product(product(rotated[:, :-1], basis) * for_kernel, basis.T)
        both = jnp.concatenate([kernel, rotated[:, -1:] * for_bias], axis=1)
        return size * product(classes, both).astype(g.dtype)

    return inverse


def _conjugate_gradients(
    hessian: Callable[[Array], Array],
    precondition: Callable[[Array], Array],
    gradient: Array,
    loss: Array,
    tolerance: float,
    max_products: int,
) -> tuple[Array, Array]:
    """Solve hessian d = -gradient, more accurately near the optimum."""
    h = precondition(-gradient)
    first = jnp.sum(-gradient * h)
    exactness = jnp.clip(first / loss, 1e-6, 0.25)
    enough = jnp.maximum(exactness * first, tolerance * loss / 100)

    def go_on(state: tuple) -> Array:
        _, _, _, rho, count, usable = state
        fresh = (count == 0) & (rho > 0)
        return usable & (count < max_products) & (fresh | (rho > enough))

    def step(state: tuple) -> tuple:
        d, r, p, rho, count, _ = state
        q = hessian(p)
        curvature = jnp.sum(p * q)
        usable = curvature > 0
        size = jnp.where(usable, rho / jnp.where(usable, curvature, 1), 0)
        d, r = d + size * p, r - size * q
        h = precondition(r)
        after = jnp.sum(r * h)
        return d, r, h + after / rho * p, after, count + 1, usable

    start = (
        jnp.zeros_like(gradient),
        -gradient,
        h,
        first,
        jnp.zeros((), jnp.int32),
        jnp.asarray(True),
    )
    d, _, _, _, count, _ = jax.lax.while_loop(go_on, step, start)
    return d, count


def _line_search(
    problem: Problem,
    ridge: Array,
    theta: Array,
    direction: Array,
    logits: Array,
    loss: Array,
    slope: Array,
) -> Array:
    """Step size, halved until the loss falls enough.

    Logits are linear in the step, so all sizes share one product with z.
    """
    change = _logits(problem.z, direction)
    rounding = 8 * jnp.finfo(problem.z.dtype).eps * loss

    def too_long(size: Array) -> Array:
        at = margins(logits + size.astype(logits.dtype) * change, problem.is_label)
        reached = jnp.mean(at.loss, dtype=theta.dtype)
        reached = reached + _penalty(theta + size * direction, ridge)
        wanted = loss + _SUFFICIENT * size * slope + rounding
        return ~(reached <= wanted) & (size > _SMALLEST_STEP)

    return jax.lax.while_loop(
        too_long, lambda size: size / 2, jnp.ones((), theta.dtype)
    )
