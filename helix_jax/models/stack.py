"""Runs blocks one after another, from any layer to any later one.

If a model's layers are stacked, [L, ...], the loop is a scan; if its cache holds
separate tables for the layers, it is unrolled.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax.models.alibi import alibi_bias
from helix_jax.models.block import block
from helix_jax.models.cache import KeyValueCache, write_apart, write_layer
from helix_jax.models.relative import relative_bias
from helix_jax.models.rope import Turn, rotation
from helix_jax.models.scores import Reach
from helix_jax.models.sharding import constrain, gather_layer
from helix_jax.models.spec import AlibiSpec, ModelSpec, RelativeBias
from helix_jax.types import Array


class Stream(NamedTuple):
    """A residual stream between two blocks.

    Attributes:
      h: [B, T, D] float.
      mask: [B, T] bool, True for tokens.
      positions: [B, T] int, of the tokens.
    """

    h: Array
    mask: Array
    positions: Array


class LayersOutput(NamedTuple):
    """What `run_layers` returns.

    Attributes:
      h: [B, T, D], the stream after the last block.
      collected: [n, B, T, D], the requested layers, in that order.
      cache: the extended cache, or None.
    """

    h: Array
    collected: Array
    cache: KeyValueCache | None


def run_layers(
    params: Mapping,
    spec: ModelSpec,
    stream: Stream,
    *,
    start: int = 0,
    stop: int | None = None,
    collect: Sequence[int] = (),
    cache: KeyValueCache | None = None,
) -> LayersOutput:
    """Run blocks start+1..stop on a residual stream.

    Args:
      params, spec: the model; its layers unstacked if the cache is.
      stream: after block `start`.
      start, stop: layer numbers, 0 <= start <= stop <= L; stop None means L. Static.
      collect: layer numbers between start and stop to return. Static.
      cache: with the new slots already reserved (`cache.reserve`), or None.
    """
    stop = spec.num_layers if stop is None else stop
    inner = sorted({layer for layer in collect if start < layer < stop})
    kept = None
    if inner:
        kept = jnp.zeros((len(inner) + 1, *stream.h.shape), stream.h.dtype)
    sight = sight_of(params, spec, stream, cache)
    first_slot = None if cache is None else cache.next_slot - stream.h.shape[1]

    def step(carry: _Carry, layer: _Layer) -> tuple[_Carry, None]:
        keys, values, kept = carry.keys, carry.values, carry.kept

        def remember(k: Array, v: Array) -> tuple[Array, Array, Array | None]:
            nonlocal keys, values
            keys, values, attended = _write(
                keys, values, k, v, layer.number, first_slot
            )
            return attended

        reach, turn = sight.of_layer(layer.window, layer.rotates)
        own = gather_layer(layer.params, spec)
        h = block(own, spec, carry.h, reach, turn, remember, first=layer.number == 0)
        h = constrain(h, "batch", None, None)
        if kept is not None:
            kept = jax.lax.dynamic_update_index_in_dim(kept, h, layer.slot, 0)
        return _Carry(h, keys, values, kept), None

    keys, values = (None, None) if cache is None else (cache.keys, cache.values)
    carry = _Carry(stream.h, keys, values, kept)
    layers = _layers(params, spec, start, stop, inner, apart=isinstance(keys, tuple))
    if isinstance(layers, list):
        for layer in layers:
            carry, _ = step(carry, layer)
    else:
        carry, _ = jax.lax.scan(step, carry, layers)
    if cache is not None:
        cache = cache._replace(keys=carry.keys, values=carry.values)
    states = {start: stream.h, stop: carry.h}
    if carry.kept is not None:
        states |= {layer: carry.kept[slot] for slot, layer in enumerate(inner)}
    wanted = [states[layer] for layer in collect]
    collected = jnp.stack(wanted) if wanted else carry.h[None][:0]
    return LayersOutput(carry.h, collected, cache)


_Tables: TypeAlias = Array | tuple[Array, ...] | None  # of a cache, stacked or by layer


class _Carry(NamedTuple):
    """What passes from layer to layer: stream, cache and collected states."""

    h: Array
    keys: Any
    values: Any
    kept: Array | None


class _Layer(NamedTuple):
    """The inputs of one layer's step, or of all layers', stacked.

    `slot` is where its output goes among the collected states: unwanted layers write to
    the last slot, which is dropped, so that one loop body serves any choice.
    """

    params: Any
    number: Any
    slot: Any
    window: Any
    rotates: Any


def _layers(
    params: Mapping,
    spec: ModelSpec,
    start: int,
    stop: int,
    inner: Sequence[int],
    *,
    apart: bool,
) -> "_Layer | list[_Layer]":
    """Layers start+1..stop, stacked or as a list."""
    slots = np.full(stop - start, len(inner))
    for slot, layer in enumerate(inner):
        slots[layer - start - 1] = slot
    windows = spec.windows or (0,) * spec.num_layers
    rotate = spec.rope_layers or (True,) * spec.num_layers
    if apart:
        return [
            _Layer(
                params["layers"][number],
                number,
                slots[number - start],
                windows[number],
                rotate[number],
            )
            for number in range(start, stop)
        ]
    stacked = params["layers"]
    if (start, stop) != (0, spec.num_layers):
        stacked = jax.tree.map(lambda leaf: leaf[start:stop], stacked)
    numbers = np.arange(start, stop)
    own = [np.asarray(values)[start:stop] for values in (windows, rotate)]
    return _Layer(stacked, numbers, slots, *own)


class Sight(NamedTuple):
    """Which keys a token sees, and the rotation of each.

    Attributes:
      reach: of a layer without a window.
      windows: whether some layers have one.
      unturned: whether some layers do not rotate.
      everywhere, nearby: the turn of layers without and with a window, or None.
    """

    reach: Reach
    windows: bool
    unturned: bool
    everywhere: Turn | None
    nearby: Turn | None

    def of_layer(self, window: Any, rotates: Any) -> tuple[Reach, Turn | None]:
        """Reach and turn of a layer with a window of `window` tokens; 0: unlimited.

        A layer that does not rotate has a turn of angle zero.
        """
        reach, turn = self.reach, self.everywhere
        if self.windows:
            reach = reach._replace(window=window)
        if self.nearby is not None:
            choose = partial(jnp.where, window == 0)
            turn = jax.tree.map(choose, self.everywhere, self.nearby)
        if self.unturned and turn is not None:
            cos = jnp.where(rotates, turn.cos, 1.0)
            turn = turn._replace(cos=cos, sin=jnp.where(rotates, turn.sin, 0.0))
        return reach, turn


def _alibi(alibi: AlibiSpec, reach: Reach) -> Array:
    """`alibi_bias` as a `Reach.by_head`."""
    return alibi_bias(alibi, reach.query_positions, reach.key_positions)


def _relative(table: Array, bias: RelativeBias, reach: Reach) -> Array:
    """`relative_bias` as a `Reach.by_head`."""
    return relative_bias(table, reach.query_slots, reach.key_slots, bias)[None]


def sight_of(
    params: Mapping, spec: ModelSpec, stream: Stream, cache: KeyValueCache | None
) -> Sight:
    """What a stream's tokens see, among themselves or in a cache that includes them."""
    keys = stream if cache is None else cache
    positions = stream.positions
    reach = Reach(positions, keys.positions, keys.mask, spec.causal)
    if spec.alibi is not None:
        reach = reach._replace(by_head=partial(_alibi, spec.alibi))
    elif spec.relative_bias is not None:
        table = params["relative_bias"]
        reach = reach._replace(by_head=partial(_relative, table, spec.relative_bias))
    windows = spec.windows is not None
    if not windows:
        reach = reach.prepared()
    turns = [
        rotation(rope, positions) if rope is not None else None
        for rope in (spec.rope, spec.local_rope)
    ]
    return Sight(reach, windows, spec.rope_layers is not None, *turns)


def _write(
    keys: _Tables, values: _Tables, k: Array, v: Array, number: Any, first_slot: Any
) -> tuple[_Tables, _Tables, tuple[Array, Array, Array | None]]:
    """Cached tables with a layer's new keys and values, and what it attends to."""
    if keys is None:
        return None, None, (k, v, None)
    if isinstance(keys, tuple) and isinstance(values, tuple):
        keys = write_apart(keys, number, k, first_slot)
        values = write_apart(values, number, v, first_slot)
        return keys, values, (keys[number], values[number], None)
    keys = write_layer(keys, number, k, first_slot)
    values = write_layer(values, number, v, first_slot)
    return keys, values, (keys, values, number)
