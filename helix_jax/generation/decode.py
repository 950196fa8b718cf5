"""The device program of decoding: a block of steps, run ahead of the host.

`decode_block` first rolls back the rows that the host corrects and feeds them the right
tokens; the other rows continue where the last block ended, even if the host has not
checked it yet. Then it chooses tokens and feeds, for each, the source tokens that are
guessed to stand for it, until the block ends or every row needs the host.
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
    """The state of a block between two of its steps.

    Attributes:
      number: [] int32, steps done.
      state: of the rows.
      seen: [B, V] bool, tokens that the repetition penalty counts; None without one.
      chosen: [B, most] int32, tokens chosen in this block.
    """

    number: Array
    state: DecodeState
    seen: Array | None
    chosen: Array


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
    """Run `count` steps; each feeds one source token per row and chooses one if due.

    A row pauses after a stop token, a token without a guess, its `total`-th token, or
    one that would take it beyond `limit`: this token is chosen but not fed, and later
    blocks skip the row until the host gives it new orders. A queue or a guess that is
    unfinished at the end of a block is continued by the next one.

    Args:
      parts: the stitch.
      state: with logits at the last token of each row that has nothing queued.
      rules: of the target's vocabulary.
      orders: from the host.
      key: PRNG key of the whole run.
      sampling: static.
      most: width of the result; static.

    Returns:
      The state, and the results of the block for `unpack_block`.
    """
    order = unpack_rows(orders)
    total, count, unseen = orders.block
    refused = (order.anew > 0) & (unseen > 0) & (state.fewest < order.keep)
    state = _rolled_back(state, order, refused)
    first = state.steps

    def step(now: _Progress) -> _Progress:
        asks = now.state.open & (now.state.part == now.state.guess.length)
        token = _choose(now, rules, key, sampling)
        now = _record(now, asks, token, column=now.state.steps - first)
        state = _guess_next(now.state, asks, token, rules, order.limit, total)
        state = _feed(parts, state)
        return now._replace(number=now.number + 1, state=state)

    def goes_on(now: _Progress) -> Array:
        return (now.number < count) & jnp.any(now.state.open)

    begun = _Progress(
        number=jnp.zeros((), jnp.int32),
        state=state,
        seen=_seen(state) if sampling.repetition_penalty != 1 else None,
        chosen=jnp.zeros((len(first), most), jnp.int32),
    )
    done = jax.lax.while_loop(goes_on, step, begun)
    state = done.state
    behind = jnp.where(state.open, state.guess.length - state.part, 0)
    told = jnp.stack([state.steps - first, behind, refused, state.open], axis=1)
    return state, jnp.concatenate([told.astype(jnp.int32), done.chosen], axis=1)


def _rolled_back(state: DecodeState, order: Order, refused: Array) -> DecodeState:
    """The state at the beginning of the block, with the host's orders carried out."""
    anew = (order.anew > 0) & ~refused
    keep = jnp.where(anew, order.keep, state.cache.source.next_slot)
    active = (order.active > 0) & (anew | (state.open & ~refused))
    state = rewind_state(state, keep, jnp.where(anew, order.steps, state.steps))
    queue = Guess(order.queue, order.queued, order.last)
    return state._replace(
        guess=Guess(*(rowwise(anew, *pair) for pair in zip(queue, state.guess))),
        part=jnp.where(anew, 0, state.part),
        fewest=state.cache.source.next_slot,
        open=active,
    )


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
    """Write the tokens of the rows `asks` into `column` [B] and into the history."""
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
    state: DecodeState,
    asks: Array,
    token: Array,
    rules: Rules,
    limit: Array,
    total: Array,
) -> DecodeState:
    """Set what to feed for the tokens just chosen; rows that they end pause."""
    guess, back = guess_of(rules, state.guess.last, token)
    guess = Guess(*(rowwise(asks, new, old) for new, old in zip(guess, state.guess)))
    slot = state.cache.source.next_slot
    beyond = slot - back + guess.length > limit
    ends = rules.stops[token] | (guess.length == 0) | (state.steps >= total)
    goes = state.open & ~(asks & (ends | beyond))
    if rules.lessons.last.size or rules.merges.left.size:
        slot = slot - jnp.where(asks & goes, back, 0)
        fewest = jnp.minimum(state.fewest, slot)
        state = state._replace(cache=rewind_cache(state.cache, slot), fewest=fewest)
    return state._replace(guess=guess, part=jnp.where(asks, 0, state.part), open=goes)


def _feed(parts: Stitch, state: DecodeState) -> DecodeState:
    """Feed each row the next source token of its guess or queue."""
    guess, part, goes = state.guess, state.part, state.open
    rows, width = jnp.arange(len(part)), guess.ids.shape[1]
    chunk = guess.ids[rows, jnp.minimum(part, width - 1)][:, None]
    # A token that stands for several source tokens leaves steps without a choice.
    wanted = goes & (part + 1 == guess.length) if width > 1 else None
    state = feed(parts, state, chunk, goes.astype(jnp.int32), wanted=wanted)
    return state._replace(part=part + goes)
