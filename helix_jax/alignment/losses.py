"""Losses for gradient fits: one number for each row.

    mse_rows      mean_d (y_hat - y)^2
    cosine_rows   1 - cos(y_hat, y)
    huber_rows    mean_d huber(y_hat - y), quadratic up to 1
    kl_loss       KL(softmax head(y) || softmax head(y_hat)), in nats

A loss is called with y_hat [N, dy] and y [N, dy] and returns [N] in
their dtype, at least float32; `kl_loss` returns float32. `kl_loss` asks that the mapped
state predicts the next token as the target's own state does, through the target's
frozen head: ridge spends its rank on directions of large variance, this loss on those
that the head reads.

Reference: distillation by the target's own distribution: Hinton, Vinyals, Dean 2015,
  arXiv 1503.02531; of hidden states through a head: Belrose et al. 2023 (tuned lens),
  arXiv 2303.08112, equation 6. Huber 1964.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from helix_jax import kinds
from helix_jax.alignment.rows import both_rows, row_cosine
from helix_jax.arguments import takes
from helix_jax.linalg import wide
from helix_jax.types import Array

ENTRIES_AT_ONCE = 2**23
"""Logits held at once; with larger vocabularies fewer rows are taken at a time. Fewer
are measured to be slower, and so are more, which leave the processor's cache."""

Head = Callable[[Array], Array]
Loss = Callable[[Array, Array], Array]


@wide
def mse_rows(y_hat: Array, y: Array) -> Array:
    """Mean over dimensions of the squared error, [N]."""
    y_hat, y = both_rows("mse_rows", y_hat, y)
    return jnp.mean((y_hat - y) ** 2, axis=-1)


@wide
def cosine_rows(y_hat: Array, y: Array) -> Array:
    """One minus the cosine, [N]."""
    return 1 - row_cosine(y_hat, y)


@wide
def huber_rows(y_hat: Array, y: Array) -> Array:
    """Mean over dimensions of Huber's loss with threshold 1, [N]."""
    y_hat, y = both_rows("huber_rows", y_hat, y)
    return jnp.mean(optax.huber_loss(y_hat, y), axis=-1)


@takes(head=kinds.FUNCTION)
def kl_loss(head: Head) -> Loss:
    """The loss KL(head(y) || head(y_hat)) in nats.

    Args:
      head: pytree that is called with [N, dy] states and gives [N, V] logits, such as
        `jax.tree_util.Partial(function, params)`; it gets no gradient.

    Returns:
      A loss, itself a pytree, differentiable in reverse by y_hat. Memory is bounded
      for any V: rows go through the head once, in blocks, of which only the gradient
      [N, dy] is kept.
    """
    return jax.tree_util.Partial(_kl_rows, head)


def kl_of_logits(reference: Array, other: Array) -> Array:
    """KL(softmax(reference) || softmax(other)) over the last axis, in nats."""
    reference, other = both_rows("kl_of_logits", reference, other)
    log_p = jax.nn.log_softmax(reference.astype(jnp.float32))
    log_q = jax.nn.log_softmax(other.astype(jnp.float32))
    p = jnp.exp(log_p)
    # 0 log 0 is 0: where a logit is minus infinity, both may be.
    return jnp.sum(jnp.where(p > 0, p * (log_p - log_q), 0), axis=-1)


@jax.custom_vjp
def _kl_rows(head: Head, y_hat: Array, y: Array) -> Array:
    return _some_at_a_time(
        lambda mapped, own: kl_of_logits(head(own), head(mapped)), head, y_hat, y
    )


def _kl_forward(head: Head, y_hat: Array, y: Array) -> tuple[Array, Array]:
    # Take the gradient by the mapped states while their logits exist: this keeps
    # [N, dy] instead of [N, V] and spares the backward pass a run of the head.
    def rows(mapped: Array, own: Array) -> tuple[Array, Array]:
        reference = head(own)
        kl, backward = jax.vjp(lambda z: kl_of_logits(reference, head(z)), mapped)
        return kl, *backward(jnp.ones_like(kl))

    return _some_at_a_time(rows, head, y_hat, y)


def _kl_backward(gradient: Array, weights: Array) -> tuple[None, Array, None]:
    return None, (weights[:, None] * gradient).astype(gradient.dtype), None


_kl_rows.defvjp(_kl_forward, _kl_backward)


def _some_at_a_time(
    function: Callable[[Array, Array], Any], head: Head, y_hat: Array, y: Array
) -> Any:
    """A function applied to rows, as many at a time as ENTRIES_AT_ONCE allows.

    With n blocks, each block takes every n-th row. Where several devices share the
    rows, each then has a part of every block and needs nothing from the others.
    """
    rows = y.shape[0]
    at_once = max(1, ENTRIES_AT_ONCE // jax.eval_shape(head, y).shape[-1])
    blocks = -(-rows // at_once)
    if blocks <= 1:
        return function(y_hat, y)
    missing = -rows % blocks

    def dealt(z: Array) -> Array:
        z = jnp.pad(z, ((0, missing), (0, 0)))
        return z.reshape(-1, blocks, z.shape[1]).swapaxes(0, 1)

    def together(z: Array) -> Array:
        return z.swapaxes(0, 1).reshape(-1, *z.shape[2:])[:rows]

    found = jax.lax.map(lambda pair: function(*pair), (dealt(y_hat), dealt(y)))
    return jax.tree.map(together, found)
