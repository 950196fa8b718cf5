"""The multinomial logistic objective: loss, gradient rows, Hessian rows.

    f(W, b) = 1/n sum_i -log softmax(W z_i + b)[label_i] + ridge/2 |W|^2

Everything is written in margins u_c = logit_c - logit_label, and the label's own
probability is never subtracted from 1. Confident rows, with losses of 1e-6 or less,
therefore keep their relative precision in float32; log-sum-exp minus the logit would
lose it.

Layout: classes first, [C, N], the fastest for both products with the features.
"""

from typing import NamedTuple

import jax.numpy as jnp

from helix_jax.types import Array


class Margins(NamedTuple):
    """Probabilities and losses of N rows.

    Attributes:
      wrong: [C, N] probability of each class; 0 at the label.
      right: [N] probability of the label.
      loss: [N] nats, -log(right).
    """

    wrong: Array
    right: Array
    loss: Array


def margins(logits: Array, is_label: Array) -> Margins:
    """Probabilities and losses from logits [C, N] and one-hot labels [C, N] bool."""
    u = jnp.where(is_label, -jnp.inf, logits - _at_label(logits, is_label))
    top = jnp.maximum(jnp.max(u, axis=0), 0)
    wrong = jnp.exp(u - top)
    others, own = jnp.sum(wrong, axis=0), jnp.exp(-top)
    total = own + others
    loss = jnp.where(top > 0, top + jnp.log(total), jnp.log1p(others))
    return Margins(wrong / total, own / total, loss)


def gradient_rows(m: Margins, is_label: Array) -> Array:
    """[C, N] derivative of each row's loss by its logits: p - 1[label]."""
    return jnp.where(is_label, -jnp.sum(m.wrong, axis=0), m.wrong)


def hessian_rows(m: Margins, is_label: Array, direction: Array) -> Array:
    """[C, N] second derivative of each row's loss applied to a change of its logits.

    (diag(p) - p p') a, with a taken relative to the label's, so that there is no
    cancellation where p is nearly one-hot.
    """
    a = jnp.where(is_label, 0, direction - _at_label(direction, is_label))
    mean = jnp.sum(m.wrong * a, axis=0)
    return jnp.where(is_label, -m.right * mean, m.wrong * (a - mean))


def class_curvature(m: Margins, is_label: Array) -> Array:
    """[C, C] mean over rows of diag(p) - p p', the class part of the Hessian."""
    p = jnp.where(is_label, m.right, m.wrong)
    cross = jnp.matmul(p, p.T, precision="highest") / p.shape[1]
    cross = cross * (1 - jnp.eye(cross.shape[0], dtype=cross.dtype))
    return jnp.diag(jnp.sum(cross, axis=1)) - cross


def _at_label(values: Array, is_label: Array) -> Array:
    return jnp.sum(jnp.where(is_label, values, 0), axis=0)
