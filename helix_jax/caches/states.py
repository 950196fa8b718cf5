"""Keys and values as states of tokens: positions removed from keys, and put back.

A key is rotated by its token's position, k_p = s R(p) k, with s the scale of the
rotation. Between models with different frequencies only k is comparable:

    states   k = R(-p) k_p / s and v, [2 L, B, S, K D_head], keys first
    cache    k_p = s R(p) k for another model, at its own positions

`cache_states` and `write_states` are inverses of each other.

Reference: Su et al. 2021, arXiv 2104.09864, equation 34.
"""

from typing import Any

import jax.numpy as jnp
from flax import struct

from helix_jax.activations.token_states import TokenSide
from helix_jax.caches.form import CacheForm, cache_form, require_cache
from helix_jax.models import KeyValueCache, Model, ModelSpec, apply_model, empty_cache
from helix_jax.models.cache import next_positions, reserve, slots_of
from helix_jax.models.rope import rotate, rotation
from helix_jax.types import Array


@struct.dataclass
class CacheStates:
    """Keys and values of every layer of a model, for `TokenSide`: 2 L states per token.

    Attributes:
      params: of the model.
      spec: its architecture.
    """

    params: Any
    spec: ModelSpec = struct.field(pytree_node=False)

    def __call__(self, tokens: Array, mask: Array) -> Array:
        """[2 L, B, T, K D_head] float32 of tokens [B, T] and mask [B, T]."""
        batch, slots = tokens.shape
        cache = empty_cache(self.spec, batch, slots, self.params["embed"].dtype)
        output = apply_model(self.params, self.spec, tokens, mask, cache=cache)
        return cache_states(output.extended, cache_form(self.spec))


def cache_side(model: Model, tokenizer: Any) -> TokenSide:
    """A side of token pairs that gives keys and values.

    Raises:
      UnsupportedError: as `cache_form`.
    """
    cache_form(model.spec)
    return TokenSide(CacheStates(model.params, model.spec), tokenizer, model.spec)


def cache_states(cache: KeyValueCache, form: CacheForm) -> Array:
    """The states of a cache whose tokens were read in one pass.

    Frequencies that depend on the length of a text (dynamic, longrope) are those of the
    longest position of each row, as in the pass that made the keys.

    Args:
      cache: of a model of this form.
      form: of the model.

    Returns:
      [2 L, B, S, K D_head] float32, keys first; slots without a token mean nothing.

    Raises:
      ValueError: the cache has another form.
    """
    tables = require_cache("cache_states", cache, form)
    keys, values = (table.astype(jnp.float32).swapaxes(2, 3) for table in tables)
    keys = _turn(keys, form, cache.positions, back=True)
    both = jnp.concatenate([keys, values])
    return both.reshape(*both.shape[:3], form.width)


def write_states(
    states: Array, form: CacheForm, into: KeyValueCache, mask: Array
) -> KeyValueCache:
    """A cache extended by the tokens of some states.

    Args:
      states: [2 L, B, T, K D_head] float.
      form: of the model whose cache it is.
      into: with room for T tokens per row.
      mask: [B, T] bool, False for padding.

    Returns:
      The extended cache, in its dtype; keys are rotated by the positions after those
      that it holds.

    Raises:
      ValueError: states or cache have another form, or there is no room.
    """
    held = require_cache("write_states", into, form)
    wanted = (2 * form.layers, *mask.shape, form.width)
    if states.shape != wanted:
        raise ValueError(
            f"write_states: states need shape {list(wanted)}, got {list(states.shape)}."
        )
    positions = next_positions(into, mask)
    cache = reserve(into, mask, positions)
    heads = states.reshape(*states.shape[:3], form.kv_heads, form.head_width)
    keys, values = heads[: form.layers], heads[form.layers :]
    keys = _turn(keys, form, positions, back=False)
    rows, columns = slots_of(into.next_slot, mask.shape[1])
    tables = [
        # A slice between two arrays of indices: their axes come first.
        table.at[:, rows, :, columns].set(
            jnp.moveaxis(new, 0, 2).astype(table.dtype), mode="drop"
        )
        for table, new in zip(held, (keys, values))
    ]
    return cache._replace(keys=tables[0], values=tables[1])


def _turn(keys: Array, form: CacheForm, positions: Array, *, back: bool) -> Array:
    """Keys [L, B, S, K, D_head] rotated by their positions [B, S], or rotated back."""
    if form.rope is None:
        return keys
    everywhere = rotation(form.rope, positions)
    turns = {
        "none": (jnp.ones_like(everywhere.cos), jnp.zeros_like(everywhere.sin)),
        "rope": (everywhere.cos, everywhere.sin),
    }
    if form.local_rope is not None:
        nearby = rotation(form.local_rope, positions)
        turns["local_rope"] = (nearby.cos, nearby.sin)
    names = list(turns)
    order = jnp.asarray([names.index(name) for name in form.turns])
    cos, sin = (jnp.stack(tables)[order] for tables in zip(*turns.values()))
    if back:
        size = cos**2 + sin**2  # the square of the scale
        cos, sin = cos / size, -sin / size
    return rotate(keys, cos, sin, interleaved=form.rope.interleaved)
