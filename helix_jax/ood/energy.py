"""The energy of logits: low for in-distribution inputs."""

import jax
import jax.numpy as jnp

from helix_jax import numeric
from helix_jax.linalg import wide
from helix_jax.types import Array


@wide
def energy_score(logits: Array, *, temperature: float = 1.0) -> Array:
    """Energy -T log sum_c exp(logit_c / T); higher is further out of distribution.

    It depends on the logits alone, so anyone who decrypts them can compute it.

    Args:
      logits: [..., C] float.
      temperature: T, positive.

    Returns:
      [...] float32, or wider if the logits are.

    Raises:
      ValueError: the temperature is not positive.
      TypeError: the logits are not numbers.

    Reference: Liu, Wang, Owens, Li 2020, arXiv 2010.03759, equation 4.
    """
    if not temperature > 0:
        raise ValueError(
            f"energy_score: temperature must be positive, got {temperature}."
        )
    logits = jnp.asarray(numeric.class_logits("energy_score", logits))
    return -temperature * jax.nn.logsumexp(logits / temperature, axis=-1)
