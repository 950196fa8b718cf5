"""Scores from logits alone: anyone who reads or decrypts the logits can compute them.

As everywhere in this package, higher is further out of distribution.
"""

import jax
import jax.numpy as jnp

from helix_jax import numeric
from helix_jax.linalg import wide
from helix_jax.types import Array


@wide
def max_softmax_score(logits: Array) -> Array:
    """Minus the largest class probability, -max_c softmax(logits)_c.

    Args:
      logits: [..., C] float.

    Returns:
      [...] in [-1, -1/C], float32, or wider if the logits are.

    Reference: Hendrycks and Gimpel 2017, arXiv 1610.02136, section 3.
    """
    return -jnp.exp(
        jnp.max(
            jax.nn.log_softmax(_numbers("max_softmax_score", logits), axis=-1), axis=-1
        )
    )


@wide
def max_logit_score(logits: Array) -> Array:
    """Minus the largest logit, -max_c logit_c.

    Args:
      logits: [..., C] float.

    Returns:
      [...] float32, or wider if the logits are.

    Reference: Hendrycks et al. 2022, arXiv 1911.11132, section 4.
    """
    return -jnp.max(_numbers("max_logit_score", logits), axis=-1)


@wide
def entropy_score(logits: Array) -> Array:
    """Entropy of the class probabilities, -sum_c p_c log p_c, in nats.

    Args:
      logits: [..., C] float.

    Returns:
      [...] in [0, log C], float32, or wider if the logits are.
    """
    log_p = jax.nn.log_softmax(_numbers("entropy_score", logits), axis=-1)
    return -jnp.sum(jnp.exp(log_p) * jnp.where(jnp.isfinite(log_p), log_p, 0), axis=-1)


def _numbers(who: str, logits: Array) -> Array:
    return jnp.asarray(numeric.class_logits(who, logits))
