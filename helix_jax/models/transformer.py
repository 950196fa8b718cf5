"""The forward pass of every model: embed, a scan over stacked layers, head.

    h_0 = embed(tokens);  h_i = block_i(h_{i-1});  logits = head(final_norm(h_L))

Pure functions over a parameter pytree; `spec` says which switches are on.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax.models.attention import allowed_keys, score_bias
from helix_jax.models.block import block
from helix_jax.models.cache import (
    KeyValueCache,
    next_positions,
    reserve,
    write_apart,
    write_layer,
)
from helix_jax.models.inputs import check_ids, check_inputs
from helix_jax.models.layers import normalise
from helix_jax.models.rope import rotation
from helix_jax.models.spec import ModelSpec
from helix_jax.models.vocabulary import apply_head, embed
from helix_jax.types import Array


class ModelOutput(NamedTuple):
    """What a forward pass returns.

    Attributes:
      hidden: [n, B, T, D], the requested layers in the requested order.
      logits: [B, T, V] float32, or None.
      cache: the extended cache, or None.
    """

    hidden: Array
    logits: Array | None
    cache: KeyValueCache | None


def apply_model(
    params: Mapping,
    spec: ModelSpec,
    tokens: Array,
    mask: Array | None = None,
    *,
    layers: Sequence[int] = (-1,),
    final_norm: bool = True,
    logits: bool = False,
    cache: KeyValueCache | None = None,
    token_types: Array | None = None,
) -> ModelOutput:
    """Hidden states of any layers, and logits where asked.

    Args:
      params: parameter pytree (`models/params.py`).
      spec: the architecture; static.
      tokens: [B, T] int.
      mask: [B, T] bool or int, nonzero for tokens and zero for padding on either
        side; None for no padding.
      layers: which residual streams; 0 is the embedding, i the output of block i,
        L or -1 the last. Static.
      final_norm: apply the model's final norm to every returned layer (True), or
        return the raw residual stream (False). Logits always use the norm. Static.
      logits: also return logits. Static.
      cache: decode on from here; tokens are appended to it.
      token_types: [B, T] int for models that have them; None means all zero.

    Returns:
      ModelOutput; states at padding are finite and without meaning. While tracing, ids
      cannot be looked at: a token, position or token type beyond its table then makes
      every state of its row NaN.

    Raises:
      ValueError: shapes that do not fit, ids that the model does not have, a layer
        that does not exist, logits of a model without a head, a cache for an encoder.
    """
    check_inputs(spec, tokens, mask, logits, cache, token_types)
    wanted = resolve_layers(spec, layers)
    mask = jnp.ones(tokens.shape, bool) if mask is None else mask.astype(bool)
    check_ids("tokens", tokens, spec.vocab_size, mask)
    check_ids("token_types", token_types, spec.token_types, mask)
    counted = mask
    if spec.uncounted_token is not None:
        counted = mask & (tokens != spec.uncounted_token)
    positions = next_positions(cache, counted)
    if spec.uncounted_token is not None:
        positions = jnp.where(counted, positions, -1)
    if cache is not None and spec.num_positions:
        check_ids("positions", positions, spec.max_tokens, mask)
    h = embed(params, spec, tokens, positions, token_types)
    # What stands at padding may be any number, and NaN there would spread.
    h = jnp.where(mask[..., None], h, 0)
    if cache is not None:
        cache = reserve(cache, mask, positions)
    stop = spec.num_layers if logits or cache is not None else max(wanted)
    last, hidden, cache = run_layers(
        params, spec, h, mask, positions, stop=stop, collect=wanted, cache=cache
    )
    if final_norm and spec.final_norm:
        hidden = normalise(params["final_norm"], hidden, spec)
    scores = apply_head(params, spec, last) if logits else None
    return ModelOutput(hidden, scores, cache)


def resolve_layers(spec: ModelSpec, layers: Sequence[int]) -> tuple[int, ...]:
    """Layer numbers 0..L for a list that may count from the end."""
    count = spec.num_layers
    if not layers or any(not -count - 1 <= layer <= count for layer in layers):
        raise ValueError(
            f"layers must be from {-count - 1} to {count} for a model of {count} "
            f"layers (0 is the embedding, -1 the last), got {tuple(layers)}."
        )
    return tuple(layer % (count + 1) for layer in layers)


def run_layers(
    params: Mapping,
    spec: ModelSpec,
    h: Array,
    mask: Array,
    positions: Array,
    *,
    start: int = 0,
    stop: int | None = None,
    collect: Sequence[int] = (),
    cache: KeyValueCache | None = None,
) -> tuple[Array, Array, KeyValueCache | None]:
    """Blocks start+1..stop over a residual stream.

    Args:
      params, spec: the model; its layers unstacked where the cache is.
      h: [B, T, D], the stream after block `start`.
      mask: [B, T] bool.
      positions: [B, T] int.
      start, stop: layer numbers, 0 <= start <= stop <= L; stop None means L. Static.
      collect: layer numbers between start and stop to return. Static.
      cache: with the new slots already reserved (`cache.reserve`), or None.

    Returns:
      h after block `stop` [B, T, D]; the collected states [n, B, T, D]; the cache.
    """
    stop = spec.num_layers if stop is None else stop
    # Slot of each layer's output in the buffer of collected states; unwanted layers
    # write to the last slot, which is dropped. One loop body serves any choice.
    inner = sorted({layer for layer in collect if start < layer < stop})
    slots = np.full(stop - start, len(inner))
    for slot, layer in enumerate(inner):
        slots[layer - start - 1] = slot
    kept = jnp.zeros((len(inner) + 1, *h.shape), h.dtype) if inner else None
    keys_from = (mask, positions) if cache is None else (cache.mask, cache.positions)
    allowed = allowed_keys(positions, keys_from[1], keys_from[0], causal=spec.causal)
    bias, distance = score_bias(allowed), None
    if spec.windows is not None:
        distance = positions[:, :, None] - keys_from[1][:, None, :]
    rotations = [
        rotation(rope, positions) if rope is not None else None
        for rope in (spec.rope, spec.local_rope)
    ]
    write_from = None if cache is None else cache.next_slot - h.shape[1]
    first = h

    def step(carry, layer):
        h, keys, values, kept = carry
        block_params, number, slot, window = layer

        def remember(k, v):
            nonlocal keys, values
            if keys is None:
                return k, v, None
            if isinstance(keys, tuple):
                keys = write_apart(keys, number, k, write_from)
                values = write_apart(values, number, v, write_from)
                return keys[number], values[number], None
            keys = write_layer(keys, number, k, write_from)
            values = write_layer(values, number, v, write_from)
            return keys, values, number

        own_bias, turn = bias, rotations[0]
        if distance is not None:
            near = (window == 0) | (distance < window)
            own_bias = score_bias(allowed & near)
        if rotations[1] is not None:
            local = [jnp.where(window == 0, a, b) for a, b in zip(*rotations)]
            turn = tuple(local)
        h = block(block_params, spec, h, own_bias, turn, remember)
        if kept is not None:
            kept = jax.lax.dynamic_update_index_in_dim(kept, h, slot, 0)
        return (h, keys, values, kept), None

    windows = spec.windows or (0,) * spec.num_layers
    keys, values = (None, None) if cache is None else (cache.keys, cache.values)
    carry = h, keys, values, kept
    if isinstance(keys, tuple):
        for number in range(start, stop):
            layer = (
                params["layers"][number],
                number,
                slots[number - start],
                windows[number],
            )
            carry, _ = step(carry, layer)
    else:
        stacked = params["layers"]
        if (start, stop) != (0, spec.num_layers):
            stacked = jax.tree.map(lambda leaf: leaf[start:stop], stacked)
        numbers, windows = np.arange(start, stop), np.asarray(windows)[start:stop]
        carry, _ = jax.lax.scan(step, carry, (stacked, numbers, slots, windows))
    h, keys, values, kept = carry
    if cache is not None:
        cache = cache._replace(keys=keys, values=values)
    found = {start: first, stop: h}
    found |= {layer: kept[slot] for slot, layer in enumerate(inner)}
    collected = [found[layer] for layer in collect]
    return h, jnp.stack(collected) if collected else h[None][:0], cache
