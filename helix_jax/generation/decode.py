"""The device program of decoding: a block of steps, run ahead of the host.

`decode_block` rolls rows back and feeds them what the host found to be right, while the
others go on where the last block ended, which the host need not have seen; then it
chooses tokens and feeds, for each, the source tokens that are guessed to stand for it,
until the block ends or the host must look.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from helix_jax.generation.orders import Order, Orders, unpack_rows
from helix_jax.generation.rules import Guess, Rules, guess_of, rowwise
from helix_jax.generation.sampling import (
    Sampling,
    choose_tokens,
    process_logits,
    uniform_draws,
)
from helix_jax.generation.state import DecodeState, feed, rewind_cache, rewind_state
from helix_jax.generation.stitch import Stitch
from helix_jax.types import Array


class _Progress(NamedTuple):
    """A block between two of its steps.

    Attributes:
      number: [] int32, steps done.
      state: of the rows.
      seen: [B, V] bool, tokens that a repetition penalty counts; None without one.
      chosen: [B, most] int32, tokens chosen in this block.
      guess: what is being fed for the last of them.
      place: [B] int32, how much of the queue is fed.
      part: [B] int32, how much of the guess is fed.
      waits: [B] bool, rows that are done with the block.
    """

    number: Array
    state: DecodeState
    seen: Array | None
    chosen: Array
    guess: Guess
    place: Array
    part: Array
    waits: Array


def decode_block(
    parts: Stitch,
    state: DecodeState,
    rules: Rules,
    orders: Orders,
    key: Array,
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
      orders: of the host.
      key: PRNG key of the whole run.
      sampling: static.
      most: width of the result; static.

    Returns:
      The state; what was done, for `unpack_block`.
    """
    order = unpack_rows(orders)
    total, count, unseen = orders.block
    refused = (order.anew > 0) & (unseen > 0) & (state.fewest < order.keep)
    anew = (order.anew > 0) & ~refused
    order = order._replace(queued=jnp.where(anew, order.queued, 0))
    state = _rolled_back(state, order, anew, refused)
    first = state.steps

    def step(now: _Progress) -> _Progress:
        early = now.place < order.queued
        asks = ~now.waits & ~early & (now.part == now.guess.length)
        token = _choose(now, rules, key, sampling)
        now = _record(now, asks, token, column=now.state.steps - first)
        now = _guess_next(now, asks, token, rules, order.limit, total)
        now = _feed(parts, now, early, order)
        rests = (now.place == order.queued) & (now.part == now.guess.length)
        waits = now.waits | (rests & (now.number + 1 >= count))
        return now._replace(number=now.number + 1, waits=waits)

    batch = state.logits.shape[0]
    zero = jnp.zeros((batch,), jnp.int32)
    begun = _Progress(
        number=jnp.zeros((), jnp.int32),
        state=state,
        seen=_seen(state) if sampling.repetition_penalty != 1 else None,
        chosen=jnp.zeros((batch, most), jnp.int32),
        guess=Guess(
            jnp.zeros((batch, rules.guesses.shape[1]), jnp.int32), zero, state.last
        ),
        place=zero,
        part=zero,
        waits=~state.open,
    )
    done = jax.lax.while_loop(lambda now: ~jnp.all(now.waits), step, begun)
    state = done.state._replace(last=done.guess.last)
    chosen = state.steps - first
    fed = chosen - (done.part < done.guess.length)
    told = jnp.stack([chosen, fed, refused, state.open], axis=1).astype(jnp.int32)
    return state, jnp.concatenate([told, done.chosen], axis=1)


def _rolled_back(
    state: DecodeState, order: Order, anew: Array, refused: Array
) -> DecodeState:
    """The state with which the block begins: rows anew as the host orders them."""
    held = state.cache.source.next_slot
    keep = jnp.where(anew, order.keep, held)
    active = (order.active > 0) & (anew | (state.open & ~refused))
    last = jnp.where(anew, order.last, state.last)
    state = rewind_state(state, keep, jnp.where(anew, order.steps, state.steps))
    fewest = state.cache.source.next_slot
    return state._replace(last=last, fewest=fewest, open=active)


def _seen(state: DecodeState) -> Array:
    """[B, V] bool, tokens in the history of each row."""
    batch, vocabulary = state.logits.shape
    held = jnp.arange(state.history.shape[1]) < state.known[:, None]
    columns = jnp.where(held, state.history, vocabulary)
    seen = jnp.zeros((batch, vocabulary), bool)
    return seen.at[jnp.arange(batch)[:, None], columns].set(True, mode="drop")


def _choose(now: _Progress, rules: Rules, key: Array, sampling: Sampling) -> Array:
    """[B] int32, the token that each row would choose now."""
    state, draws = now.state, None
    processed = process_logits(state.logits, rules.suppressed, now.seen, sampling)
    if sampling.temperature > 0:
        draws = uniform_draws(key, jnp.arange(len(state.steps)), state.steps)
    return choose_tokens(processed, draws, sampling)


def _record(now: _Progress, asks: Array, token: Array, *, column: Array) -> _Progress:
    """Write the tokens of rows that ask for one into `column` [B] and the history."""
    state, seen = now.state, now.seen
    rows, beyond = jnp.arange(len(token)), now.chosen.shape[1]
    places = jnp.where(asks, column, beyond)
    chosen = now.chosen.at[rows, places].set(token, mode="drop")
    if seen is not None:
        marked = jnp.where(asks, token, seen.shape[1])
        seen = seen.at[rows, marked].set(True, mode="drop")
        places = jnp.where(asks, state.known, state.history.shape[1])
        history = state.history.at[rows, places].set(token, mode="drop")
        state = state._replace(history=history)
    state = state._replace(steps=state.steps + asks, known=state.known + asks)
    return now._replace(state=state, seen=seen, chosen=chosen)


def _guess_next(
    now: _Progress, asks: Array, token: Array, rules: Rules, limit: Array, total: Array
) -> _Progress:
    """What to feed for the tokens just chosen; rows that end with them wait."""
    state = now.state
    guess, back = guess_of(rules, now.guess.last, token)
    guess = Guess(*(rowwise(asks, new, old) for new, old in zip(guess, now.guess)))
    slot = state.cache.source.next_slot
    beyond = slot - back + guess.length > limit
    ends = rules.stops[token] | (guess.length == 0) | (state.steps >= total)
    state = state._replace(open=state.open & ~(asks & (ends | beyond)))
    waits = now.waits | ~state.open
    if rules.lessons.last.size or rules.merges.left.size:
        slot = slot - jnp.where(asks & ~waits, back, 0)
        fewest = jnp.minimum(state.fewest, slot)
        state = state._replace(cache=rewind_cache(state.cache, slot), fewest=fewest)
    part = jnp.where(asks, 0, now.part)
    return now._replace(state=state, guess=guess, part=part, waits=waits)


def _feed(parts: Stitch, now: _Progress, early: Array, order: Order) -> _Progress:
    """Feed the next token of the queue [early, B bool] or of the guess."""
    rows, guess, queue = jnp.arange(len(early)), now.guess, order.queue
    guessed = guess.ids[rows, jnp.minimum(now.part, guess.ids.shape[1] - 1)]
    queued = queue[rows, jnp.minimum(now.place, queue.shape[1] - 1)]
    chunk = jnp.where(early, queued, guessed)[:, None]
    goes = ~now.waits
    return now._replace(
        state=feed(parts, now.state, chunk, goes.astype(jnp.int32)),
        place=now.place + (goes & early),
        part=now.part + (goes & ~early),
    )
