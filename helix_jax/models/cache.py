"""The key-value cache: a plain record, updated by pure functions.

Every row of the batch keeps its own next slot, so rows may be rewound apart. Padding
occupies slots too; `mask` says which slots hold a token.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from helix_jax.models.spec import ModelSpec
from helix_jax.types import Array


class KeyValueCache(NamedTuple):
    """Keys and values of every layer.

    Attributes:
      keys, values: [L, B, S, K, D_head].
      mask: [B, S] bool, slots that hold a token.
      positions: [B, S] int32, position of the token in each slot.
      next_slot: [B] int32, where the next token goes.
    """

    keys: Array
    values: Array
    mask: Array
    positions: Array
    next_slot: Array


def empty_cache(
    spec: ModelSpec, batch: int, slots: int, dtype: jnp.dtype = jnp.float32
) -> KeyValueCache:
    """A cache with room for `slots` tokens (padding included) in each of B rows."""
    shape = (spec.num_layers, batch, slots, spec.num_kv_heads, spec.head_width)
    return KeyValueCache(
        jnp.zeros(shape, dtype),
        jnp.zeros(shape, dtype),
        jnp.zeros((batch, slots), bool),
        jnp.zeros((batch, slots), jnp.int32),
        jnp.zeros((batch,), jnp.int32),
    )


def rewind(cache: KeyValueCache, next_slot: Array) -> KeyValueCache:
    """Forget all slots from `next_slot` ([B] int) on, row by row."""
    kept = jnp.arange(cache.mask.shape[1])[None, :] < next_slot[:, None]
    return cache._replace(
        mask=cache.mask & kept, next_slot=jnp.asarray(next_slot, jnp.int32)
    )


def next_positions(cache: KeyValueCache | None, mask: Array) -> Array:
    """Positions of new tokens: how many tokens of the row stand before each.

    Args:
      cache: what came before, or None.
      mask: [B, T] bool, which of the new slots hold a token.

    Returns:
      [B, T] int32; padding gets the position of the token before it, at least 0.
    """
    before = 0 if cache is None else jnp.sum(cache.mask, axis=1, keepdims=True)
    return jnp.maximum(before + jnp.cumsum(mask, axis=1) - 1, 0).astype(jnp.int32)


def reserve(cache: KeyValueCache, mask: Array, positions: Array) -> KeyValueCache:
    """Mark the slots of T new tokens as taken; keys and values follow layer by layer.

    Raises:
      ValueError: T is larger than the whole cache. A row that overflows later cannot
        be seen while tracing: keep next_slot + T <= S.
    """
    tokens, slots = mask.shape[1], cache.mask.shape[1]
    if tokens > slots:
        raise ValueError(
            f"the cache has {slots} slots a row, got {tokens} tokens at once; make "
            "a larger one with empty_cache."
        )
    return cache._replace(
        mask=write_rows(cache.mask, mask, cache.next_slot),
        positions=write_rows(cache.positions, positions, cache.next_slot),
        next_slot=cache.next_slot + tokens,
    )


def write_rows(table: Array, rows: Array, start: Array) -> Array:
    """Write rows[b] into table[b] from column start[b] on; [B, S, ...], [B, T, ...]."""

    def one(line, new, offset):
        indices = (offset,) + (0,) * (line.ndim - 1)
        return jax.lax.dynamic_update_slice(line, new.astype(line.dtype), indices)

    return jax.vmap(one)(table, rows, start)
