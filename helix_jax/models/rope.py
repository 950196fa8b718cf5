"""Applies rotary position embeddings; `rope_config` has their frequencies."""

from typing import NamedTuple

import jax.numpy as jnp

from helix_jax.models.spec import RopeSpec
from helix_jax.types import Array


class Turn(NamedTuple):
    """The rotation of queries and keys by position.

    Attributes:
      cos, sin: [B, T, 1, R] float32, R the number of frequencies.
      growth: [B, T, 1, 1] float32, factor on the queries, or None.
    """

    cos: Array
    sin: Array
    growth: Array | None = None


def rotation(rope: RopeSpec, positions: Array) -> Turn:
    """cos and sin of every angle, and the growth of queries.

    A row with a position beyond `long_after` uses the long table, or the frequencies
    for its length, independently of the other rows of its batch. (transformers decides
    for the whole batch at once. As there, cached keys keep the table that they were
    made with.)

    Args:
      rope: the frequencies.
      positions: [B, T] int, position of each token.
    """
    frequencies = jnp.asarray(rope.frequencies, jnp.float32)
    if rope.long_after is not None:
        length = jnp.max(positions, axis=1)[:, None, None, None] + 1
        if rope.dynamic is not None:
            long = _dynamic(rope, length, *rope.dynamic)
        else:
            long = jnp.asarray(rope.long_frequencies, jnp.float32)
        frequencies = jnp.where(length > rope.long_after, long, frequencies)
    angles = positions[..., None, None].astype(jnp.float32) * frequencies
    growth = None
    if rope.query_growth is not None:
        beta, period = rope.query_growth
        periods = jnp.floor(positions[..., None, None].astype(jnp.float32) / period)
        growth = 1.0 + beta * jnp.log1p(periods)
    return Turn(jnp.cos(angles) * rope.scale, jnp.sin(angles) * rope.scale, growth)


def rotate(x: Array, cos: Array, sin: Array, *, interleaved: bool = False) -> Array:
    """Rotate the first 2R features of each head; the rest pass unchanged.

    Args:
      x: [B, T, H, D_head].
      cos, sin: [B, T, 1, R] float32.
      interleaved: features 2i and 2i + 1 are a pair, else i and i + R.

    Returns:
      [B, T, H, D_head] in x's dtype, each feature in its place.
    """
    turned, rest = jnp.split(x, [2 * cos.shape[-1]], axis=-1)
    cos, sin = cos.astype(x.dtype), sin.astype(x.dtype)
    if interleaved:
        first, second = turned[..., 0::2], turned[..., 1::2]
    else:
        first, second = jnp.split(turned, 2, axis=-1)
    pair = first * cos - second * sin, second * cos + first * sin
    if interleaved:
        turned = jnp.stack(pair, axis=-1).reshape(turned.shape)
        return jnp.concatenate([turned, rest], axis=-1)
    return jnp.concatenate([*pair, rest], axis=-1)


def _dynamic(rope: RopeSpec, length: Array, base: float, factor: float) -> Array:
    """Frequencies of rows of `length` [B, 1, 1, 1] tokens, [B, 1, 1, R].

    The base grows with the length (NTK-aware scaling, bloc97 and emozilla 2023).
    """
    dim = 2 * len(rope.frequencies)
    grown = factor * length.astype(jnp.float32) / rope.long_after - (factor - 1)
    # Short rows use the table; their own factor would be below 1.
    base = base * jnp.maximum(grown, 1.0) ** (dim / (dim - 2))
    return base ** -(jnp.arange(0, dim, 2, dtype=jnp.float32) / dim)
