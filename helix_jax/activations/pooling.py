"""Pooling: one vector per text from its token states, with any padding.

mean           sum_t h_t / n                  n valid tokens
last           h at the last valid token
cls            h at the first valid token
mean_sqrt      sum_t h_t / sqrt(n)
max            max_t h_t, feature by feature
weighted_mean  sum_t t h_t / sum_t t          t = 1..n counts valid tokens
token          every state, unpooled
"""

import jax.numpy as jnp

from helix_jax.arguments import native
from helix_jax.choices import POOLINGS
from helix_jax.types import Array


def pool(states: Array, mask: Array, *, method: str) -> Array:
    """Pool over time in float32; padding on either side has no influence.

    Args:
      states: [..., B, T, D] float, hidden states; padding may hold anything, even NaN.
      mask: [B, T] bool or int, nonzero at tokens.
      method: one of POOLINGS. Static.

    Returns:
      [..., B, D] float32; for "token" [..., B, T, D] float32 with zeros at padding.
      A row without any token is zero.

    Raises:
      ValueError: the method is unknown, or shapes do not match.

    Reference: position-weighted mean: Muennighoff 2022 (SGPT), arXiv 2202.08904,
      equation 2; the others are as in Reimers and Gurevych 2019, arXiv 1908.10084.
    """
    check_pooling(method)
    states, mask = native(states), native(mask)
    if mask.shape != states.shape[:-1][-mask.ndim :]:
        raise ValueError(
            "pool: needs states [..., B, T, D] and a mask [B, T], got "
            f"{list(states.shape)} and {list(mask.shape)}."
        )
    valid = mask.astype(bool)
    if method in ("last", "cls"):
        index = jnp.argmax(valid, axis=-1)
        if method == "last":
            index = valid.shape[-1] - 1 - jnp.argmax(valid[..., ::-1], axis=-1)
        index = jnp.broadcast_to(index, states.shape[:-2])[..., None, None]
        picked = jnp.take_along_axis(states, index, axis=-2)[..., 0, :]
        any_valid = jnp.any(valid, axis=-1)[..., None]
        return jnp.where(any_valid, picked.astype(jnp.float32), 0.0)
    if method == "max":
        states = jnp.where(valid[..., None], states.astype(jnp.float32), -jnp.inf)
        return jnp.where(jnp.any(valid, -1)[..., None], jnp.max(states, axis=-2), 0.0)
    states = jnp.where(valid[..., None], states, 0).astype(jnp.float32)
    if method == "token":
        return states
    weights = valid.astype(jnp.float32)
    if method == "weighted_mean":
        weights = jnp.cumsum(weights, axis=-1) * weights
    total = jnp.maximum(jnp.sum(weights, axis=-1), 1.0)
    if method == "mean_sqrt":
        total = jnp.sqrt(total)
    weighted = jnp.sum(states * weights[..., None], axis=-2)
    return weighted / total[..., None]


def check_pooling(method: str) -> None:
    """Raise ValueError unless `method` is one of POOLINGS."""
    if method not in POOLINGS:
        raise ValueError(f"pooling must be one of {POOLINGS}, got {method!r}.")
