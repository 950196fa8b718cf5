"""The two device programs of generation: feed tokens, and decode a block of steps.

`feed` appends a right-padded chunk to the rows of a batch: prefill and single steps are
this. `decode_block` rolls rows back and feeds them what the host found to be right,
while the others go on; then it chooses tokens and feeds, for each, the source tokens
that are guessed to stand for it, until the block ends or the host must look.

Caches have no holes: the slots that padding took are given back, so a row's next slot
is the number of its tokens.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from helix_jax.generation.sampling import (
    Sampling,
    choose_tokens,
    process_logits,
    uniform_draws,
)
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
    """

    cache: StitchCache
    logits: Array
    history: Array
    known: Array
    steps: Array


@struct.dataclass
class Rules:
    """What a block needs to know about the target's vocabulary.

    Attributes:
      guesses: [V, M] int32, source tokens that are fed for each target token.
      lengths: [V] int32, how many of them; 0: only the host knows.
      stops: [V] bool, tokens that end a row.
      suppressed: [V] bool, tokens that are never chosen.
    """

    guesses: Array
    lengths: Array
    stops: Array
    suppressed: Array


class Orders(NamedTuple):
    """What the host wants of a block, row by row; may change without compiling anew.

    Attributes:
      active: [B] bool, rows that take part.
      keep: [B] int32, source tokens to keep; others are rolled back.
      steps: [B] int32, chosen tokens to keep.
      queue: [B, Q] int32, source tokens to feed before anything is chosen.
      queued: [B] int32, how many of them.
      limit: [B] int32, source tokens that a row may have in all.
      total: [] int32, chosen tokens that a row may have in all.
      count: [] int32, steps of the block, at most `most`.
    """

    active: Array
    keep: Array
    steps: Array
    queue: Array
    queued: Array
    limit: Array
    total: Array
    count: Array


class Block(NamedTuple):
    """What a block did.

    Attributes:
      tokens: [B, most] int32, target tokens chosen.
      count: [B] int32, how many.
      fed: [B] int32, source tokens fed for them, the queue not counted.
    """

    tokens: Array
    count: Array
    fed: Array


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
        jnp.zeros((batch,), jnp.int32),
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
        cache=_rewind(state.cache, tokens),
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
    return state._replace(cache=_rewind(cache, begin + lengths), logits=logits)


def decode_block(
    parts: Stitch,
    state: DecodeState,
    rules: Rules,
    key: Array,
    orders: Orders,
    *,
    sampling: Sampling,
    most: int,
) -> tuple[DecodeState, Block]:
    """`count` steps, each one source token a row, and a token chosen where it is due.

    A row waits, its last token chosen and not fed, after a stop token, a token without
    a guess, its `total`-th token, or one that would take it beyond `limit`. What was
    begun at the end of the block, a queue or a guess, is fed to its end.

    Args:
      parts: the stitch.
      state: with logits at each row's last token, where nothing is queued.
      rules: of the target's vocabulary.
      key: PRNG key of the whole run.
      orders: of the host.
      sampling: static.
      most: width of the result; static.

    Returns:
      The state; what was done.
    """
    state = rewind_state(state, orders.keep, orders.steps)
    batch, vocabulary = state.logits.shape
    rows = jnp.arange(batch)
    first = state.steps
    seen = None
    if sampling.repetition_penalty != 1:
        held = jnp.arange(state.history.shape[1]) < state.known[:, None]
        columns = jnp.where(held, state.history, vocabulary)
        seen = jnp.zeros((batch, vocabulary), bool)
        seen = seen.at[rows[:, None], columns].set(True, mode="drop")

    def step(carry):
        number, state, seen, out, token, place, part, waits = carry
        early = place < orders.queued
        asks = ~waits & ~early & (part == rules.lengths[token])
        processed = process_logits(state.logits, rules.suppressed, seen, sampling)
        draws = None
        if sampling.temperature > 0:
            draws = uniform_draws(key, rows, state.steps)
        token = jnp.where(asks, choose_tokens(processed, draws, sampling), token)
        part = jnp.where(asks, 0, part)
        column = jnp.where(asks, state.steps - first, most)
        out = out.at[rows, column].set(token, mode="drop")
        if seen is not None:
            chosen = jnp.where(asks, token, vocabulary)
            seen = seen.at[rows, chosen].set(True, mode="drop")
            column = jnp.where(asks, state.known, state.history.shape[1])
            history = state.history.at[rows, column].set(token, mode="drop")
            state = state._replace(history=history)
        state = state._replace(steps=state.steps + asks, known=state.known + asks)
        length = rules.lengths[token]
        beyond = state.cache.source.next_slot + length > orders.limit
        ends = rules.stops[token] | (length == 0) | (state.steps >= orders.total)
        waits = waits | (asks & (ends | beyond))
        guess = rules.guesses[token, jnp.minimum(part, rules.guesses.shape[1] - 1)]
        queue = orders.queue[rows, jnp.minimum(place, orders.queue.shape[1] - 1)]
        chunk = jnp.where(early, queue, guess)[:, None]
        state = feed(parts, state, chunk, (~waits).astype(jnp.int32))
        place = place + (~waits & early)
        part = part + (~waits & ~early)
        rests = (place == orders.queued) & (part == length)
        waits = waits | (rests & (number + 1 >= orders.count))
        return number + 1, state, seen, out, token, place, part, waits

    out = jnp.zeros((batch, most), jnp.int32)
    token = place = jnp.zeros((batch,), jnp.int32)
    carry = (0, state, seen, out, token, place, rules.lengths[token], ~orders.active)
    carry = jax.lax.while_loop(lambda carry: ~jnp.all(carry[-1]), step, carry)
    state, out = carry[1], carry[3]
    fed = state.cache.source.next_slot - orders.keep - orders.queued
    return state, Block(out, state.steps - first, fed)


def _rewind(cache: StitchCache, next_slot: Array) -> StitchCache:
    return _each(lambda one: rewind(one, next_slot), cache)


def _each(change: Callable, cache: StitchCache) -> StitchCache:
    """The change made to the caches of both sides."""
    return StitchCache(*(None if one is None else change(one) for one in cache))


def _layer_bytes(parts: Stitch) -> int:
    layers = [part.params["layers"] for part in (parts.source, parts.target)]
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(layers))
