"""The device program of decoding: a block of steps, run ahead of the host.

`decode_block` rolls rows back and feeds them what the host found to be right, while the
others go on where the last block ended, which the host need not have seen; then it
chooses tokens and feeds, for each, the source tokens that are guessed to stand for it,
until the block ends or the host must look.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
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


class Merges(NamedTuple):
    """Pairs of source tokens that are read as one; a hash table of S x 4 places.

    Attributes:
      left, right: [S, 4] int32, the pair; -1 where there is none.
      whole: [S, 4] int32, the one token.
    """

    left: Array
    right: Array
    whole: Array


@struct.dataclass
class Rules:
    """What a block needs to know about the target's vocabulary.

    Attributes:
      guesses: [V, M] int32, source tokens that are fed for each target token.
      lengths: [V] int32, how many of them; 0: only the host knows.
      stops: [V] bool, tokens that end a row.
      suppressed: [V] bool, tokens that are never chosen.
      merges: what the first token of a guess and the token before it are read as.
    """

    guesses: Array
    lengths: Array
    stops: Array
    suppressed: Array
    merges: Merges


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
    """What the host wants of a block; may change without compiling anew.

    Attributes:
      rows: [B, 7 + Q] int32, a line for each row of what `Order` names.
      block: [3] int32: chosen tokens that a row may have in all; steps of the block, at
        most `most`; 1 if the host has not seen the block before.
    """

    rows: Array
    block: Array


class Order(NamedTuple):
    """What the host wants of one row; of all of them, [B], on the device.

    Attributes:
      active: 0: the row takes no part.
      anew: 1: the orders below hold. 0: it goes on where it stands, if it can.
      keep: source tokens to keep; others are rolled back.
      steps: chosen tokens to keep.
      last: the row's last source token, that of the queue if there is one.
      limit: source tokens that the row may have in all; also if not `anew`.
      queued: how many of the queue.
      queue: [Q], source tokens to feed before anything is chosen.
    """

    active: Array | int
    anew: Array | int
    keep: Array | int
    steps: Array | int
    last: Array | int
    limit: Array | int
    queued: Array | int
    queue: Array | Sequence[int]


class Block(NamedTuple):
    """What a block did, on the host; on the device one array [B, 4 + most] int32.

    Attributes:
      count: [B] int32, target tokens chosen.
      fed: [B] int32, for how many of them source tokens were fed: all, or all but one.
      refused: [B] int32, 1: `anew` could not be followed, since the block that the host
        had not seen took back some of what should be kept; nothing was done.
      open: [B] int32, 1: the next block goes on with the row without the host.
      tokens: [B, most] int32, the tokens; what stands behind `count` has no meaning.
    """

    count: np.ndarray
    fed: np.ndarray
    refused: np.ndarray
    open: np.ndarray
    tokens: np.ndarray


def unpack_block(packed: Array) -> Block:
    """The block, when the device is done with it."""
    host = np.asarray(packed)
    return Block(*host[:, :4].T, host[:, 4:])


def pack_orders(
    orders: Sequence[Order], *, total: int, count: int, unseen: bool
) -> Orders:
    """Orders in two arrays, so that little has to cross to the device.

    Args:
      orders: of each row, their queues of one length.
      total, count, unseen: as in `Orders.block`.
    """
    rows = np.array([(*order[:-1], *order.queue) for order in orders], np.int32)
    return Orders(rows, np.array([total, count, unseen], np.int32))


def _unpack(rows: Array) -> Order:
    columns = len(Order._fields) - 1
    return Order(*rows[:, :columns].T, rows[:, columns:])


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
) -> tuple[DecodeState, Array]:
    """`count` steps, each one source token a row, and a token chosen where it is due.

    A row waits, its last token chosen and not fed, after a stop token, a token without
    a guess, its `total`-th token, or one that would take it beyond `limit`; later
    blocks leave it alone until the host orders it anew. What was begun at the end of
    the block, a queue or a guess, is fed to its end.

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
      The state; what was done, for `unpack_block`.
    """
    order = _unpack(orders.rows)
    total, count, unseen = orders.block
    anew = order.anew > 0
    refused = anew & (unseen > 0) & (state.fewest < order.keep)
    anew &= ~refused
    held = state.cache.source.next_slot
    keep, steps = (
        jnp.where(anew, new, old)
        for new, old in ((order.keep, held), (order.steps, state.steps))
    )
    state = rewind_state(state, keep, steps)
    last = jnp.where(anew, order.last, state.last)
    queued = jnp.where(anew, order.queued, 0)
    active = (order.active > 0) & (anew | (state.open & ~refused))
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
        early = place < queued
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
        beyond = slot - back + guess.length > order.limit
        ends = rules.stops[token] | (guess.length == 0) | (state.steps >= total)
        state = state._replace(open=state.open & ~(asks & (ends | beyond)))
        waits = waits | ~state.open
        if lessons.last.size or rules.merges.left.size:
            slot = slot - jnp.where(asks & ~waits, back, 0)
            fewest = jnp.minimum(state.fewest, slot)
            state = state._replace(cache=rewind_cache(state.cache, slot), fewest=fewest)
        own = guess.ids[rows, jnp.minimum(part, guess.ids.shape[1] - 1)]
        queue = order.queue[rows, jnp.minimum(place, order.queue.shape[1] - 1)]
        chunk = jnp.where(early, queue, own)[:, None]
        state = feed(parts, state, chunk, (~waits).astype(jnp.int32))
        place = place + (~waits & early)
        part = part + (~waits & ~early)
        rests = (place == queued) & (part == guess.length)
        waits = waits | (rests & (number + 1 >= count))
        return number + 1, state, seen, out, guess, place, part, waits

    out = jnp.zeros((batch, most), jnp.int32)
    zero = jnp.zeros((batch,), jnp.int32)
    none = jnp.zeros((batch, rules.guesses.shape[1]), jnp.int32)
    guess = _Guess(none, zero, last)
    state = state._replace(fewest=state.cache.source.next_slot, open=active)
    carry = (0, state, seen, out, guess, zero, zero, ~active)
    carry = jax.lax.while_loop(lambda carry: ~jnp.all(carry[-1]), step, carry)
    _, state, _, out, guess, _, part, _ = carry
    chosen = state.steps - first
    fed = chosen - (part < guess.length)
    done = jnp.stack([chosen, fed, refused, state.open], axis=1).astype(jnp.int32)
    return state._replace(last=guess.last), jnp.concatenate([done, out], axis=1)


def find_merge(merges: Merges, left: Array, right: Array) -> Array:
    """The token that each pair is read as, -1 where it is not; all [B] int32."""
    places = hash_pair(left, right) & np.uint32(len(merges.left) - 1)
    fits = merges.left[places] == left[:, None]
    fits &= merges.right[places] == right[:, None]
    return jnp.max(jnp.where(fits, merges.whole[places], -1), axis=1)


def hash_pair(left: Array, right: Array) -> Array:
    """A number for each pair of tokens, uint32; numpy or jax."""
    left, right = left.astype(np.uint32), right.astype(np.uint32)
    mixed = left * np.uint32(0x9E3779B1) ^ right * np.uint32(0x85EBCA77)
    return mixed ^ (mixed >> np.uint32(15))


class _Guess(NamedTuple):
    """[B, M] source tokens, their number [B], and the last token behind them [B]."""

    ids: Array
    length: Array
    last: Array


def _guess(rules, lessons, last, token) -> tuple[_Guess, Array]:
    """What to feed for `token` behind `last`, and how much to take back; all [B]."""
    ids, length, back = rules.guesses[token], rules.lengths[token], 0 * token
    if rules.merges.left.size:
        merged = find_merge(rules.merges, last, ids[:, 0])
        merges = (merged >= 0) & (length > 0)
        ids = ids.at[:, 0].set(jnp.where(merges, merged, ids[:, 0]))
        back = merges.astype(back.dtype)
    if lessons.last.size:
        fits = (lessons.last == last[:, None]) & (lessons.token == token[:, None])
        size = lessons.last.size
        which = jnp.min(jnp.where(fits, jnp.arange(size), size), axis=1)
        known = which < size
        ids = _where(known, lessons.ids[which], ids)
        length = jnp.where(known, lessons.lengths[which], length)
        back = jnp.where(known, lessons.back[which], back)
    end = jnp.take_along_axis(ids, jnp.maximum(length - 1, 0)[:, None], axis=1)
    return _Guess(ids, length, end[:, 0]), back


def _where(rows: Array, new: Array, old: Array) -> Array:
    """`new` in the rows marked, [B]; both [B] or [B, M]."""
    return jnp.where(rows if new.ndim == 1 else rows[:, None], new, old)
