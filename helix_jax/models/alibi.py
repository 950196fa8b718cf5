"""Attention with linear biases: distant keys score lower, each head at its own rate."""

import jax
import jax.numpy as jnp

from helix_jax.models.spec import AlibiSpec
from helix_jax.types import Array


def alibi_bias(alibi: AlibiSpec, queries: Array, keys: Array) -> Array:
    """The biases that each head adds to its scores, for any block of queries and keys.

    Args:
      alibi: slopes m.
      queries: [B, T] int, positions.
      keys: [B, S] int, positions.

    Returns:
      [B, H, T, S] float32, m (keys - queries). If alibi is coarse, m keys instead,
      [B, H, 1, S], which differs by a constant that softmax ignores.
    """
    slopes = jnp.asarray(alibi.slopes, jnp.float32)[:, None, None]
    if alibi.coarse:
        # `reduce_precision`, since a compiler may drop casts to bfloat16 and back.
        along = _in_bfloat16(keys[:, None, None].astype(jnp.float32))
        return _in_bfloat16(_in_bfloat16(slopes) * along) * alibi.scale
    distance = keys[:, None, :] - queries[:, :, None]
    return slopes * distance[:, None].astype(jnp.float32) * alibi.scale


def _in_bfloat16(x: Array) -> Array:
    return jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)
