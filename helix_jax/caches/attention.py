"""A target's attention outputs from a cache that it did not make, layer by layer.

    cosine_l = cos( attend(q_l, K_l, V_l), attend(q_l, K'_l, V'_l) )

where q are the native queries of the tokens after the prompt, K and V the native keys
and values, and K' and V' those of another cache in place of the prompt's. The output of
all heads of a token is one vector.
"""

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax.alignment import row_cosine
from helix_jax.models import KeyValueCache, ModelSpec, Stream, apply_model
from helix_jax.models.attention import attend, project
from helix_jax.models.block import attention_input
from helix_jax.models.stack import sight_of
from helix_jax.types import Array


@partial(jax.jit, static_argnames="spec")
def native_streams(
    params: Mapping, cache: KeyValueCache, tokens: Array, *, spec: ModelSpec
) -> tuple[Array, KeyValueCache]:
    """The stream before each block, of tokens [B, T] after a cache, and the new cache.

    Returns:
      [L, B, T, D], and the cache with these tokens.
    """
    layers = tuple(range(spec.num_layers))
    output = apply_model(
        params, spec, tokens, layers=layers, final_norm=False, cache=cache
    )
    return output.hidden, output.extended


@partial(jax.jit, static_argnames="spec")
def attention_outputs(
    params: Mapping, streams: Array, cache: KeyValueCache, *, spec: ModelSpec
) -> Array:
    """What attention mixes at the last tokens of a cache, before it is projected.

    Args:
      params, spec: the model.
      streams: [L, B, T, D] before each block, of the T tokens that were read last.
      cache: that holds these tokens too.

    Returns:
      [L, B, T, H D_head].
    """
    tokens = streams.shape[2]
    rows = jnp.arange(len(cache.mask))[:, None]
    columns = cache.next_slot[:, None] - tokens + jnp.arange(tokens)
    positions = cache.positions[rows, columns]
    stream = Stream(streams[0], jnp.ones(positions.shape, bool), positions)
    sight = sight_of(params, spec, stream, cache)
    windows = spec.windows or (0,) * spec.num_layers
    rotates = spec.rope_layers or (True,) * spec.num_layers

    def one(layer: tuple) -> Array:
        own, h, k, v, number, window, rotated = layer
        reach, turn = sight.of_layer(window, rotated)
        x = attention_input(own, spec, h, first=number == 0)
        q, _, _ = project(own, x, spec, turn)
        return attend(q, k, v, reach, spec, sinks=own.get("sinks"))

    each = (params["layers"], streams, cache.keys, cache.values)
    numbers = np.arange(spec.num_layers), np.asarray(windows), np.asarray(rotates)
    return jax.lax.map(one, (*each, *numbers))


def in_place_of(whole: KeyValueCache, prompt: KeyValueCache) -> KeyValueCache:
    """A cache whose first slots are replaced by those of another one."""
    slots = jnp.arange(whole.mask.shape[1])
    first = (slots[None] < prompt.next_slot[:, None])[None, :, None, :, None]
    keys, values = (
        jnp.where(first, own, other)
        for own, other in ((prompt.keys, whole.keys), (prompt.values, whole.values))
    )
    return whole._replace(keys=keys, values=values)


@jax.jit
def layer_cosines(native: Array, outputs: Array) -> Array:
    """[B, L] mean cosine over tokens of outputs [L, B, T, H D_head]."""
    return row_cosine(native, outputs).mean(axis=2).T
