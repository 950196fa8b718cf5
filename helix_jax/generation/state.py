"""What generation keeps on the device: caches, logits, histories; and how it is fed.

`feed` appends a right-padded chunk to the rows of a batch: prefill and single steps are
this. Caches have no holes: the slots that padding took are given back, so a row's next
slot is the number of its tokens.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from helix_jax.generation.stitch import (
    Stitch,
    StitchCache,
    empty_stitch_cache,
    read_head,
    run_stitch,
)
from helix_jax.models import rewind
from helix_jax.models.cache import unstack
from helix_jax.types import Array

# Models no larger than this are run layer by layer, without a loop: longer to compile,
# and the weights are held twice.
UNROLLED_BYTES = 2**28


class DecodeState(NamedTuple):
    """What stays on the device between calls.

    Attributes:
      cache: of both sides, without holes.
      logits: [B, V] float32, of the target, at each row's last token.
      history: [B, N] int32, tokens of the target's vocabulary: the prompt, then what
        was chosen; [B, 0] where nobody asks for it.
      known: [B] int32, tokens of the history that count.
      steps: [B] int32, tokens chosen.
      last: [B] int32, the last source token.
      fewest: [B] int32, source tokens that stayed throughout the last block.
      open: [B] bool, rows that can go on without the host.
    """

    cache: StitchCache
    logits: Array
    history: Array
    known: Array
    steps: Array
    last: Array
    fewest: Array
    open: Array


def begin_state(
    parts: Stitch, slots: int, history: Array, known: Array
) -> tuple[Stitch, DecodeState]:
    """The state before the first token, and the stitch to use with it.

    Args:
      parts: the stitch.
      slots: source tokens that a row has room for.
      history, known: [B, N] int32 and [B] int32, as in DecodeState.

    Returns:
      The stitch, its layers unstacked where they are small; the state.
    """
    batch = history.shape[0]
    source, target = empty_stitch_cache(parts, batch, slots)
    if _layer_bytes(parts) <= UNROLLED_BYTES:
        params, source = unstack(parts.source.params, source)
        parts = parts.replace(source=parts.source.replace(params=params))
        if target is not None:
            params, target = unstack(parts.target.params, target)
            parts = parts.replace(target=parts.target.replace(params=params))
    state = DecodeState(
        StitchCache(source, target),
        jnp.zeros((batch, parts.target.spec.vocab_size), jnp.float32),
        jnp.asarray(history, jnp.int32),
        jnp.asarray(known, jnp.int32),
        *jnp.zeros((3, batch), jnp.int32),
        jnp.zeros((batch,), bool),
    )
    return parts, state


def grow(state: DecodeState, slots: int) -> DecodeState:
    """The state with room for `slots` tokens a row."""

    def longer(cache):
        more = slots - cache.mask.shape[1]

        def pad(table):  # [B, S], [B, K, S, D_head] or [L, B, K, S, D_head]
            widths = [(0, 0)] * table.ndim
            widths[max(1, table.ndim - 2)] = (0, more)
            return jnp.pad(table, widths)

        tables = cache._replace(next_slot=None)
        return jax.tree.map(pad, tables)._replace(next_slot=cache.next_slot)

    return state._replace(cache=_each(longer, state.cache))


def rewind_state(state: DecodeState, tokens: Array, steps: Array) -> DecodeState:
    """Keep the first `tokens` source tokens and `steps` choices of each row, both [B].

    The logits stay those of the last token fed; feed a token to each row rewound.
    """
    return state._replace(
        cache=rewind_cache(state.cache, tokens),
        known=state.known - state.steps + steps,
        steps=jnp.asarray(steps, jnp.int32),
    )


def feed(
    parts: Stitch, state: DecodeState, tokens: Array, lengths: Array
) -> DecodeState:
    """Append tokens to each row.

    Args:
      parts: the stitch.
      state: what came before.
      tokens: [B, T] int, source tokens, padded on the right.
      lengths: [B] int, how many of each row count; a row with 0 keeps its state.

    Returns:
      The state, its logits at the last token of each row.
    """
    begin = state.cache.source.next_slot
    mask = jnp.arange(tokens.shape[1]) < lengths[:, None]
    states, cache = run_stitch(parts, tokens, mask, state.cache)
    last = jnp.maximum(lengths - 1, 0)[:, None, None]
    logits = read_head(parts, jnp.take_along_axis(states, last, axis=1)[:, 0])
    logits = jnp.where(lengths[:, None] > 0, logits, state.logits)
    return state._replace(cache=rewind_cache(cache, begin + lengths), logits=logits)


def rewind_cache(cache: StitchCache, next_slot: Array) -> StitchCache:
    """Forget what stands from `next_slot` [B] on, on both sides."""
    return _each(lambda one: rewind(one, next_slot), cache)


def _each(change: Callable, cache: StitchCache) -> StitchCache:
    """The change made to the caches of both sides."""
    return StitchCache(*(None if one is None else change(one) for one in cache))


def _layer_bytes(parts: Stitch) -> int:
    layers = [part.params["layers"] for part in (parts.source, parts.target)]
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(layers))
