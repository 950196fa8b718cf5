"""The two device programs of generation: feed tokens, and decode a block of steps.

`feed` appends a right-padded chunk to the rows of a batch; prefill, repair and single
steps are all this. `decode_block` chooses tokens and feeds, for each, the source tokens
that are guessed to stand for it, until every row has a block's worth or must wait for
the host. Rolling back is `rewind`.

Caches have no holes: the slots that padding took are given back, so a row's next slot
is the number of its tokens.
"""

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
from helix_jax.types import Array


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


class Block(NamedTuple):
    """What a block did.

    Attributes:
      tokens: [B, most] int32, target tokens chosen.
      count: [B] int32, how many.
      fed: [B] int32, source tokens fed for them.
    """

    tokens: Array
    count: Array
    fed: Array


def empty_state(parts: Stitch, slots: int, history: Array, known: Array) -> DecodeState:
    """Before the first token; history [B, N] int32 and known [B] as in DecodeState."""
    batch = history.shape[0]
    return DecodeState(
        empty_stitch_cache(parts, batch, slots),
        jnp.zeros((batch, parts.target.spec.vocab_size), jnp.float32),
        jnp.asarray(history, jnp.int32),
        jnp.asarray(known, jnp.int32),
        jnp.zeros((batch,), jnp.int32),
    )


def grow(state: DecodeState, slots: int) -> DecodeState:
    """The state with room for `slots` tokens a row."""

    def longer(cache):
        def pad(table, axis):
            widths = [(0, 0)] * table.ndim
            widths[axis] = (0, slots - table.shape[axis])
            return jnp.pad(table, widths)

        return cache._replace(
            keys=pad(cache.keys, 3), values=pad(cache.values, 3),
            mask=pad(cache.mask, 1), positions=pad(cache.positions, 1),
        )  # fmt: skip

    both = (None if cache is None else longer(cache) for cache in state.cache)
    return state._replace(cache=StitchCache(*both))


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
    active: Array,
    count: Array,
    total: Array,
    limit: Array,
    *,
    sampling: Sampling,
    most: int,
) -> tuple[DecodeState, Block]:
    """Choose and feed up to `count` tokens a row.

    A row waits, its last token chosen and not fed, after a stop token, a token without
    a guess, its `total`-th token, or one that would take it beyond `limit`.

    Args:
      parts: the stitch.
      state: with logits at each row's last token.
      rules: of the target's vocabulary.
      key: PRNG key of the whole run.
      active: [B] bool, rows that take part.
      count: [] int, at most `most`; may change without compiling anew.
      total: [] int, tokens a row may have in all.
      limit: [] int, source tokens a row may have in all.
      sampling: static.
      most: width of the result; static.

    Returns:
      The state; what was done.
    """
    batch = state.steps.shape[0]
    rows = jnp.arange(batch)
    vocabulary = state.logits.shape[-1]
    begin = state.cache.source.next_slot
    first = state.steps
    seen = None
    if sampling.repetition_penalty != 1:
        held = jnp.arange(state.history.shape[1]) < state.known[:, None]
        columns = jnp.where(held, state.history, vocabulary)
        seen = jnp.zeros((batch, vocabulary), bool)
        seen = seen.at[rows[:, None], columns].set(True, mode="drop")

    def step(carry):
        state, seen, out, token, part, waits = carry
        asks = ~waits & (part == rules.lengths[token])
        processed = process_logits(state.logits, rules.suppressed, seen, sampling)
        draws = None
        if sampling.temperature > 0:
            draws = uniform_draws(key, rows, state.steps)
        token = jnp.where(asks, choose_tokens(processed, draws, sampling), token)
        part = jnp.where(asks, 0, part)
        place = jnp.where(asks, state.steps - first, most)
        out = out.at[rows, place].set(token, mode="drop")
        if seen is not None:
            seen = seen.at[rows, jnp.where(asks, token, vocabulary)].set(
                True, mode="drop"
            )
            place = jnp.where(asks, state.known, state.history.shape[1])
            history = state.history.at[rows, place].set(token, mode="drop")
            state = state._replace(history=history)
        state = state._replace(steps=state.steps + asks, known=state.known + asks)
        length = rules.lengths[token]
        beyond = state.cache.source.next_slot + length > limit
        ends = rules.stops[token] | (length == 0) | (state.steps >= total) | beyond
        waits = waits | (asks & ends)
        column = jnp.minimum(part, rules.guesses.shape[1] - 1)
        chunk = rules.guesses[token, column][:, None]
        state = feed(parts, state, chunk, (~waits).astype(jnp.int32))
        part = part + ~waits
        waits = waits | ((part == length) & (state.steps - first >= count))
        return state, seen, out, token, part, waits

    out = jnp.zeros((batch, most), jnp.int32)
    token = jnp.zeros((batch,), jnp.int32)
    carry = (state, seen, out, token, rules.lengths[token], ~active)
    carry = jax.lax.while_loop(lambda carry: ~jnp.all(carry[-1]), step, carry)
    state, out = carry[0], carry[2]
    fed = state.cache.source.next_slot - begin
    return state, Block(out, state.steps - first, fed)


def _rewind(cache: StitchCache, next_slot: Array) -> StitchCache:
    both = (None if one is None else rewind(one, next_slot) for one in cache)
    return StitchCache(*both)
