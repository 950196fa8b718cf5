"""Attention with linear biases: distant keys score less, each head at its own rate."""

import math

import jax
import jax.numpy as jnp

from helix_jax.models.spec import AlibiSpec
from helix_jax.types import Array

STEEPEST = 8  # the slopes fall to 2^-STEEPEST


def alibi_slopes(heads: int) -> tuple[float, ...]:
    """The slope of each head, 2^(-8 i / n) for heads i = 1..n.

    Between powers of two, the slopes of n heads, n the power below, come first, and
    then those of 2 n heads that lie between them.

    Reference: Press et al. 2021, arXiv 2108.12409, section 3.
    """
    count = 2 ** math.ceil(math.log2(heads))
    slopes = [2.0 ** (-STEEPEST * i / count) for i in range(1, count + 1)]
    if count != heads:
        slopes = slopes[1::2] + slopes[::2]
    return tuple(slopes[:heads])


def alibi_bias(alibi: AlibiSpec, queries: Array, keys: Array) -> Array:
    """What each head adds to its scores; any block of queries and keys.

    Args:
      alibi: slopes m.
      queries: [B, T] int, positions.
      keys: [B, S] int, positions.

    Returns:
      [B, H, T, S] float32, m (keys - queries); or, where it is coarse, m keys as
      [B, H, 1, S], which differs by what a softmax does not see.
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
