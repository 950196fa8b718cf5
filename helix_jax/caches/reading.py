"""What each arm has read before it continues: caches of the target, of every kind.

    native     the target reads the prompt
    mapped     the source reads it; its cache, mapped, between the first and last tokens
    as_is      likewise, without a map, if both caches have the same shape
    none       the target's special tokens alone
    shuffled   the mapped cache of another prompt of the batch
    mean       every mapped token has the mean keys and values

In all arms the target itself reads the last tokens of the prompt, after the cache.
"""

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax.caches.maps import CacheMap, map_cache
from helix_jax.caches.prompts import Prompts
from helix_jax.models import KeyValueCache, Model, ModelSpec, apply_model, empty_cache
from helix_jax.types import Array


@partial(jax.jit, static_argnames=("spec", "slots"))
def read_tokens(
    params: Mapping, tokens: Array, mask: Array, *, spec: ModelSpec, slots: int
) -> KeyValueCache:
    """The cache of a model that has read tokens [B, T], with room for `slots`."""
    cache = empty_cache(spec, len(tokens), slots, params["embed"].dtype)
    if not tokens.shape[1]:
        return cache
    return apply_model(params, spec, tokens, mask, cache=cache).extended


transfer = jax.jit(map_cache)
"""`map_cache`, compiled: once for each form of map, prompt length and room."""


def read_source(model: Model, prompts: Prompts) -> KeyValueCache:
    """The source's cache of some prompts."""
    tokens, mask = jnp.asarray(prompts.source), jnp.asarray(prompts.source_mask)
    return read_tokens(
        model.params, tokens, mask, spec=model.spec, slots=tokens.shape[1]
    )


def read_native(model: Model, prompts: Prompts, *, room: int) -> KeyValueCache:
    """The target's own cache of some prompts, without their closing tokens."""
    return read_part(model, prompts.target[:, : -prompts.closing], prompts, room)


def read_opening(model: Model, prompts: Prompts, *, room: int) -> KeyValueCache:
    """The target's own cache of the opening tokens of some prompts."""
    return read_part(model, prompts.target[:, : prompts.opening], prompts, room)


def read_part(
    model: Model, tokens: np.ndarray, prompts: Prompts, room: int
) -> KeyValueCache:
    """The target's own cache of tokens [B, t], with `room` slots more than a prompt."""
    slots = prompts.target.shape[1] + room
    tokens = jnp.asarray(tokens, jnp.int32)
    mask = jnp.ones(tokens.shape, bool)
    return read_tokens(model.params, tokens, mask, spec=model.spec, slots=slots)


def mapped_cache(
    cache_map: CacheMap, source: KeyValueCache, opening: KeyValueCache, prompts: Prompts
) -> KeyValueCache:
    """The target's cache of some prompts, mapped after their opening tokens."""
    return transfer(cache_map, source, opening, jnp.asarray(prompts.places))


def shuffled_cache(cache: KeyValueCache) -> KeyValueCache:
    """What the next row of the batch holds."""
    tables = (jnp.roll(table, 1, axis=1) for table in (cache.keys, cache.values))
    keys, values = tables
    return cache._replace(keys=keys, values=values)
