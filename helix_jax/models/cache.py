"""The key-value cache: a plain record, updated by pure functions.

Every row of the batch has its own next slot, so rows may be rewound separately. Padding
occupies slots too; `mask` says which slots hold a token.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from helix_jax.checks import is_concrete
from helix_jax.models.spec import ModelSpec
from helix_jax.types import Array


class KeyValueCache(NamedTuple):
    """Keys and values of every layer.

    Attributes:
      keys, values: [L, B, K, S, D_head], or L separate tables (`unstack_tables`).
      mask: [B, S] bool, slots that hold a token.
      positions: [B, S] int32, position of the token in each slot.
      next_slot: [B] int32, where the next token goes.
    """

    keys: Array | tuple[Array, ...]
    values: Array | tuple[Array, ...]
    mask: Array
    positions: Array
    next_slot: Array


def empty_cache(
    spec: ModelSpec, batch: int, slots: int, dtype: jnp.dtype = jnp.float32
) -> KeyValueCache:
    """A cache with room for `slots` tokens (padding included) in each of B rows."""
    shape = (spec.num_layers, batch, spec.num_kv_heads, slots, spec.head_width)
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
    """Positions of new tokens: how many tokens of the row precede each.

    Args:
      cache: of the preceding tokens, or None.
      mask: [B, T] bool, which of the new slots hold a token.

    Returns:
      [B, T] int32; padding gets the position of the token before it, at least 0.
    """
    before = 0 if cache is None else jnp.sum(cache.mask, axis=1, keepdims=True)
    return jnp.maximum(before + jnp.cumsum(mask, axis=1) - 1, 0).astype(jnp.int32)


def reserve(cache: KeyValueCache, mask: Array, positions: Array) -> KeyValueCache:
    """Reserve the slots of T new tokens; each layer writes its keys and values later.

    Raises:
      ValueError: T exceeds the whole cache or, if `next_slot` is concrete, the free
        slots of a row. Under tracing it is not concrete, and tokens beyond the end are
        lost: keep next_slot + T <= S.
    """
    tokens, slots = mask.shape[1], cache.mask.shape[1]
    used = int(jnp.max(cache.next_slot)) if is_concrete(cache.next_slot) else 0
    if used + tokens > slots:
        raise ValueError(
            f"the cache has {slots} slots per row, {used} of them taken, got {tokens} "
            "more tokens; make a larger one with empty_cache."
        )
    rows, columns = slots_of(cache.next_slot, tokens)
    return cache._replace(
        mask=cache.mask.at[rows, columns].set(mask, mode="drop"),
        positions=cache.positions.at[rows, columns].set(positions, mode="drop"),
        next_slot=cache.next_slot + tokens,
    )


def slots_of(start: Array, tokens: int) -> tuple[Array, Array]:
    """Row [B, 1] and column [B, T] indices of T slots from start ([B] int) on."""
    columns = start[:, None] + jnp.arange(tokens)
    return jnp.arange(start.shape[0])[:, None], columns


def write_layer(table: Array, layer: Array, new: Array, start: Array) -> Array:
    """Write T tokens of one layer in place; the rest of the table is untouched.

    Args:
      table: [L, B, K, S, D_head], keys or values.
      layer: [] int.
      new: [B, K, T, D_head].
      start: [B] int, first slot of each row.

    Returns:
      [L, B, K, S, D_head].
    """
    rows, columns = slots_of(start, new.shape[2])
    new = new.swapaxes(1, 2).astype(table.dtype)
    return table.at[layer, rows, :, columns].set(new, mode="drop", unique_indices=True)


def unstack_layers(layers: Mapping) -> tuple[dict, ...]:
    """Split a tree with leaves [L, ...], the "layers" of parameters, into L trees.

    With these and separate cache tables, the forward pass unrolls the layers; a loop
    would copy each layer's weights and table for every token. For decoding with small
    models: the weights are copied here.
    """
    count = len(jax.tree.leaves(layers)[0])
    return tuple(
        jax.tree.map(lambda leaf, n=number: leaf[n], layers) for number in range(count)
    )


def unstack_tables(cache: KeyValueCache) -> KeyValueCache:
    """The cache with L tables [B, K, S, D_head]; see `unstack_layers`."""
    return cache._replace(keys=tuple(cache.keys), values=tuple(cache.values))


def write_apart(
    tables: tuple[Array, ...], layer: int, new: Array, start: Array
) -> tuple[Array, ...]:
    """`write_layer` for the tables of an unstacked cache."""
    own = write_layer(tables[layer][None], 0, new, start)[0]
    return (*tables[:layer], own, *tables[layer + 1 :])
