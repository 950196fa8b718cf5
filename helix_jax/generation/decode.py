"""The device program of decoding: a block of steps, run ahead of the host.

`decode_block` rolls rows back and feeds them what the host found to be right, while the
others go on; then it chooses tokens and feeds, for each, the source tokens that are
guessed to stand for it, until the block ends or the host must look.
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
from helix_jax.generation.state import DecodeState, feed, rewind_cache, rewind_state
from helix_jax.generation.stitch import Stitch
from helix_jax.types import Array


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


class Lessons(NamedTuple):
    """Better guesses for a target token behind a certain source token; K of them.

    Attributes:
      last: [K] int32, the source token; -1 where there is no lesson.
      token: [K] int32, the target token.
      back: [K] int32, source tokens that are taken back.
      ids: [K, M] int32, source tokens that are fed then.
      lengths: [K] int32, how many of them.
    """

    last: Array
    token: Array
    back: Array
    ids: Array
    lengths: Array


class Orders(NamedTuple):
    """What the host wants of a block, row by row; may change without compiling anew.

    Attributes:
      active: [B] bool, rows that take part.
      keep: [B] int32, source tokens to keep; others are rolled back.
      steps: [B] int32, chosen tokens to keep.
      queue: [B, Q] int32, source tokens to feed before anything is chosen.
      queued: [B] int32, how many of them.
      last: [B] int32, the row's last source token, that of the queue if there is one.
      limit: [B] int32, source tokens that a row may have in all.
      total: [] int32, chosen tokens that a row may have in all.
      count: [] int32, steps of the block, at most `most`.
    """

    active: Array
    keep: Array
    steps: Array
    queue: Array
    queued: Array
    last: Array
    limit: Array
    total: Array
    count: Array


class Block(NamedTuple):
    """What a block did.

    Attributes:
      tokens: [B, most] int32, target tokens chosen.
      count: [B] int32, how many.
      fed: [B] int32, for how many of them source tokens were fed: all, or all but one.
    """

    tokens: Array
    count: Array
    fed: Array


def decode_block(
    parts: Stitch,
    state: DecodeState,
    rules: Rules,
    lessons: Lessons,
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
      lessons: guesses that go before those of the rules.
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
        number, state, seen, out, guess, place, part, waits = carry
        early = place < orders.queued
        asks = ~waits & ~early & (part == guess.length)
        processed = process_logits(state.logits, rules.suppressed, seen, sampling)
        draws = None
        if sampling.temperature > 0:
            draws = uniform_draws(key, rows, state.steps)
        token = choose_tokens(processed, draws, sampling)
        column = jnp.where(asks, state.steps - first, most)
        out = out.at[rows, column].set(token, mode="drop")
        if seen is not None:
            chosen = jnp.where(asks, token, vocabulary)
            seen = seen.at[rows, chosen].set(True, mode="drop")
            column = jnp.where(asks, state.known, state.history.shape[1])
            history = state.history.at[rows, column].set(token, mode="drop")
            state = state._replace(history=history)
        state = state._replace(steps=state.steps + asks, known=state.known + asks)
        found, back = _guess(rules, lessons, guess.last, token)
        guess = _Guess(*(_where(asks, new, old) for new, old in zip(found, guess)))
        part = jnp.where(asks, 0, part)
        slot = state.cache.source.next_slot
        beyond = slot - back + guess.length > orders.limit
        ends = rules.stops[token] | (guess.length == 0) | (state.steps >= orders.total)
        waits = waits | (asks & (ends | beyond))
        if lessons.last.size:
            slot = slot - jnp.where(asks & ~waits, back, 0)
            state = state._replace(cache=rewind_cache(state.cache, slot))
        own = guess.ids[rows, jnp.minimum(part, guess.ids.shape[1] - 1)]
        queue = orders.queue[rows, jnp.minimum(place, orders.queue.shape[1] - 1)]
        chunk = jnp.where(early, queue, own)[:, None]
        state = feed(parts, state, chunk, (~waits).astype(jnp.int32))
        place = place + (~waits & early)
        part = part + (~waits & ~early)
        rests = (place == orders.queued) & (part == guess.length)
        waits = waits | (rests & (number + 1 >= orders.count))
        return number + 1, state, seen, out, guess, place, part, waits

    out = jnp.zeros((batch, most), jnp.int32)
    zero = jnp.zeros((batch,), jnp.int32)
    none = jnp.zeros((batch, rules.guesses.shape[1]), jnp.int32)
    guess = _Guess(none, zero, orders.last)
    carry = (0, state, seen, out, guess, zero, zero, ~orders.active)
    carry = jax.lax.while_loop(lambda carry: ~jnp.all(carry[-1]), step, carry)
    _, state, _, out, guess, _, part, _ = carry
    count = state.steps - first
    return state, Block(out, count, count - (part < guess.length))


class _Guess(NamedTuple):
    """[B, M] source tokens, their number [B], and the last token behind them [B]."""

    ids: Array
    length: Array
    last: Array


def _guess(rules, lessons, last, token) -> tuple[_Guess, Array]:
    """What to feed for `token` behind `last`, and how much to take back; all [B]."""
    ids, length, back = rules.guesses[token], rules.lengths[token], 0 * token
    if lessons.last.size:
        fits = (lessons.last == last[:, None]) & (lessons.token == token[:, None])
        size = lessons.last.size
        which = jnp.min(jnp.where(fits, jnp.arange(size), size), axis=1)
        known = which < size
        ids = _where(known, lessons.ids[which], ids)
        length = jnp.where(known, lessons.lengths[which], length)
        back = jnp.where(known, lessons.back[which], 0)
    end = jnp.take_along_axis(ids, jnp.maximum(length - 1, 0)[:, None], axis=1)
    return _Guess(ids, length, end[:, 0]), back


def _where(rows: Array, new: Array, old: Array) -> Array:
    """`new` in the rows marked, [B]; both [B] or [B, M]."""
    return jnp.where(rows if new.ndim == 1 else rows[:, None], new, old)
