"""The state of generation on the device: caches, logits, histories; and its updates.

`feed` appends a right-padded chunk to the rows of a batch, for prefill and for single
steps. Caches have no holes: slots taken by padding are freed, so that a row's next slot
is the number of its tokens.
"""

import dataclasses
import weakref
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from helix_jax.generation.rules import Guess
from helix_jax.generation.stitch import (
    Part,
    Stitch,
    StitchCache,
    empty_stitch_cache,
    read_head,
    run_stitch,
)
from helix_jax.models import rewind
from helix_jax.models.cache import KeyValueCache, unstack_layers, unstack_tables
from helix_jax.types import Array

# Models up to this size are run layer by layer, without a loop: they take longer to
# compile, and their weights are held twice.
UNROLLED_BYTES = 2**28
# Heads of this size or more are skipped in steps in which no row will choose a token;
# skipping a smaller head takes longer than running it.
LARGE_HEAD = 2**24


class DecodeState(NamedTuple):
    """The state that stays on the device between calls.

    Attributes:
      cache: of both sides, without holes.
      logits: [B, V] float32, of the target, at each row's last token.
      history: [B, N] int32, tokens of the target's vocabulary: the prompt, then what
        was chosen; [B, 0] where it is not needed.
      known: [B] int32, number of valid tokens in the history.
      steps: [B] int32, number of tokens chosen.
      guess: source tokens that are being fed.
      part: [B] int32, how many of these have been fed.
      fewest: [B] int32, source tokens that were kept throughout the last block.
      open: [B] bool, rows that can continue without the host.
    """

    cache: StitchCache
    logits: Array
    history: Array
    known: Array
    steps: Array
    guess: Guess
    part: Array
    fewest: Array
    open: Array


def unroll(parts: Stitch) -> Stitch:
    """The stitch with its layers unstacked if they are small; copied once per model."""
    if _layer_bytes(parts) > UNROLLED_BYTES:
        return parts

    def apart(part: Part) -> Part:
        params = {**part.params, "layers": _apart(part.params)}
        return dataclasses.replace(part, params=params)

    target = parts.target
    if target.layer < target.spec.num_layers:
        target = apart(target)
    return dataclasses.replace(parts, source=apart(parts.source), target=target)


def is_unrolled(parts: Stitch) -> bool:
    """Whether `unroll` took the layers apart."""
    return isinstance(parts.source.params["layers"], tuple)


def begin_state(
    parts: Stitch, slots: int, width: int, history: Array, known: Array
) -> DecodeState:
    """The state before the first token.

    Args:
      parts: the stitch, from `unroll`.
      slots: source tokens that a row has room for.
      width: M, source tokens that a guess has room for.
      history, known: [B, N] int32 and [B] int32, as in DecodeState.
    """
    batch = history.shape[0]
    steps, part, fewest, length, last = jnp.zeros((5, batch), jnp.int32)
    cache = empty_stitch_cache(parts, batch, slots)
    if is_unrolled(parts):
        cache = _each(unstack_tables, cache)
    return DecodeState(
        cache,
        jnp.zeros((batch, parts.target.spec.vocab_size), jnp.float32),
        jnp.asarray(history, jnp.int32),
        jnp.asarray(known, jnp.int32),
        steps,
        Guess(jnp.zeros((batch, width), jnp.int32), length, last),
        part,
        fewest,
        jnp.zeros((batch,), bool),
    )


def grow(state: DecodeState, slots: int) -> DecodeState:
    """The state with room for `slots` tokens a row."""

    def longer(cache: KeyValueCache) -> KeyValueCache:
        more = slots - cache.mask.shape[1]

        def pad(table: Array) -> Array:
            # [B, S], [B, K, S, D_head] or [L, B, K, S, D_head]
            widths = [(0, 0)] * table.ndim
            widths[max(1, table.ndim - 2)] = (0, more)
            return jnp.pad(table, widths)

        tables = cache._replace(next_slot=None)
        return jax.tree.map(pad, tables)._replace(next_slot=cache.next_slot)

    return state._replace(cache=_each(longer, state.cache))


def rewind_state(state: DecodeState, tokens: Array, steps: Array) -> DecodeState:
    """Keep the first `tokens` source tokens and `steps` choices of each row, both [B].

    The logits remain those of the last token fed; feed a token to each rewound row.
    """
    return state._replace(
        cache=rewind_cache(state.cache, tokens),
        known=state.known - state.steps + steps,
        steps=jnp.asarray(steps, jnp.int32),
    )


def feed(
    parts: Stitch,
    state: DecodeState,
    tokens: Array,
    lengths: Array,
    *,
    wanted: Array | None = None,
) -> DecodeState:
    """Append tokens to each row.

    Args:
      parts: the stitch.
      state: what came before.
      tokens: [B, T] int, source tokens, padded on the right.
      lengths: [B] int, number of tokens of each row; a row with 0 keeps its state.
      wanted: [B] bool, rows whose logits will be read; if there are none, a large head
        is skipped. None: all.

    Returns:
      The state, with the logits at the last token of each row.
    """
    begin = state.cache.source.next_slot
    mask = jnp.arange(tokens.shape[1]) < lengths[:, None]
    states, cache = run_stitch(parts, tokens, mask, state.cache)
    last = jnp.maximum(lengths - 1, 0)[:, None, None]
    states = jnp.take_along_axis(states, last, axis=1)[:, 0]

    def read(old: Array) -> Array:
        return jnp.where(lengths[:, None] > 0, read_head(parts, states), old)

    table = parts.target.params["embed"]
    if wanted is None or table.size * table.dtype.itemsize < LARGE_HEAD:
        logits = read(state.logits)
    else:
        logits = jax.lax.cond(jnp.any(wanted), read, lambda old: old, state.logits)
    return state._replace(cache=rewind_cache(cache, begin + lengths), logits=logits)


def rewind_cache(cache: StitchCache, next_slot: Array) -> StitchCache:
    """Forget everything from `next_slot` [B] on, on both sides."""
    return _each(lambda one: rewind(one, next_slot), cache)


def _each(change: Callable, cache: StitchCache) -> StitchCache:
    """Apply `change` to the caches of both sides."""
    target = None if cache.target is None else change(cache.target)
    return StitchCache(change(cache.source), target)


_copies: dict[tuple[int, ...], tuple[list[weakref.ref], tuple]] = {}


def _apart(params: Mapping) -> tuple[dict, ...]:
    """The layers unstacked; kept as long as the weights that they are copied from."""
    leaves = jax.tree.leaves(params["layers"])
    if not all(isinstance(leaf, jax.Array) for leaf in leaves):
        return _unstack(params["layers"])  # other dictionaries may change in place
    key = tuple(map(id, leaves))
    if key not in _copies:
        refs = [weakref.ref(leaf, lambda _: _copies.pop(key, None)) for leaf in leaves]
        _copies[key] = refs, _unstack(params["layers"])
    return _copies[key][1]


_unstack = jax.jit(unstack_layers)


def _layer_bytes(parts: Stitch) -> int:
    layers = [part.params["layers"] for part in (parts.source, parts.target)]
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(layers))
