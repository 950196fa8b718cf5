"""The host's side of generation: blocks on the device, checked against the text.

    block of guesses -> for each row: is the text, encoded anew, what was fed?
                        yes: on;  no: rewind to the common prefix, feed what is right

While the host checks a block, the device is at the next one. The result is that of the
slow loop, which encodes the whole text and runs the whole model for every token. How
many steps a block has follows from how often guesses fail.
"""

import dataclasses
import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from helix_jax.generation.decode import (
    Order,
    Rules,
    decode_block,
    pack_orders,
    unpack_block,
)
from helix_jax.generation.guesses import (
    MEMORY,
    Guesses,
    count_failures,
    feeder,
    learn,
    lesson_table,
    no_merges,
)
from helix_jax.generation.reading import Reader, read_whole
from helix_jax.generation.rows import Bounds, Row, absorb, begin_anew, kept_tokens, show
from helix_jax.generation.sampling import Sampling
from helix_jax.generation.state import (
    DecodeState,
    begin_state,
    feed,
    grow,
    rewind_state,
    unroll,
)
from helix_jax.generation.stitch import Stitch
from helix_jax.types import Array

LEAST, MOST, STREAMED = 2, 32, 8  # tokens a block; at most, where somebody watches
CHUNK = 512  # tokens of a prompt that are fed at once
QUEUE = 8  # source tokens that a row may be fed in a block before it goes on
OVERHEAD = 0.5  # of a block, in steps


def run_rows(
    parts: Stitch,
    reader: Reader,
    rows: Sequence[Row],
    guesses: Guesses,
    rules: Rules,
    bounds: Bounds,
    *,
    sampling: Sampling,
    key: Array,
    on_text: Callable[[int, str], None] | None = None,
) -> None:
    """Extend every row until it ends.

    A text that the tokenizer reads otherwise than in parts split before a word is
    written once more, read as a whole for each token; a callback is then given what
    goes beyond the characters that it has.

    Args:
      parts: the stitch.
      reader: how chosen tokens become source tokens.
      rows: prompts; changed in place.
      guesses: of the reader; learns.
      rules: of the target's vocabulary, with these guesses.
      bounds: when rows end.
      sampling: static.
      key: PRNG key.
      on_text: called with the row's number and each new piece of its text.
    """
    rest = guesses, rules, bounds, sampling, key, on_text
    _run(parts, reader, rows, *rest)
    if reader.native or not reader.splits:
        return
    whole = reader._replace(splits=None)
    wrong = [row for row in rows if read_whole(reader, row.reading) != row.reading.ids]
    for row in wrong:
        begin_anew(row, whole)
    if wrong:
        _run(parts, whole, rows, *rest)


class _Flight(NamedTuple):
    """A block that the host has not checked."""

    number: int
    orders: Sequence[Order]
    count: int
    follow: Callable[[list[int], int], None]
    block: Array


@dataclasses.dataclass
class _Line:
    """What the host knows of a row on the device.

    Attributes:
      cached: source tokens that it has after the last block checked.
      due: it must be ordered anew; until then its blocks do not count.
      since: the first block that counts.
    """

    cached: list[int]
    due: bool = True
    since: int = 0


def _run(parts, reader, rows, guesses, rules, bounds, sampling, key, on_text) -> None:
    stops = rules.stops
    # What crosses a turn must be read anew, so that the device takes nothing back.
    merged = {} if bounds.turns else guesses.merged
    if bounds.turns:
        rules = rules.replace(merges=no_merges())
    rules = jax.device_put(rules)
    longest = max(len(row.reading.ids) for row in rows)
    room = bounds.total if reader.native else bounds.total * 5 // 4
    slots = _bucket(min(longest + room, bounds.context), 64, bounds.context)
    parts = unroll(parts)
    state = _begin(parts, slots, *_histories(rows, bounds.total, sampling))
    learns = guesses.learns and not bounds.turns
    taught = guesses.taught if learns else {}
    lessons = lesson_table(guesses, taught)
    lines, flights, number = [_Line([]) for row in rows], deque(), 0
    while any(row.reason is None for row in rows):
        if _worth_a_block(rows, lines, flights, bounds):
            keep, chunks = zip(
                *(_correction(*pair, bounds) for pair in zip(rows, lines))
            )
            longest = max(map(sum, zip(keep, map(len, chunks))))
            if longest > slots:
                slots = _bucket(longest, 2 * slots, bounds.context)
                state = _grow(state, slots)
            if _fit_a_queue(keep, chunks):
                if learns and guesses.taught is not taught:
                    taught = guesses.taught
                    lessons = lesson_table(guesses, taught)
                orders = _orders(rows, lines, keep, chunks, slots, bounds)
                count = _ahead(guesses, len(rows), on_text)
                state, block = _block(
                    parts,
                    state,
                    rules,
                    lessons,
                    key,
                    pack_orders(
                        orders, total=bounds.total, count=count, unseen=bool(flights)
                    ),
                    sampling=sampling,
                    most=MOST,
                )
                follow = feeder(guesses, taught, merged)
                flights.append(_Flight(number, orders, count, follow, block))
                for line in lines:
                    line.since, line.due = number if line.due else line.since, False
                number += 1
                continue
            if not flights:
                state = _mend(parts, state, keep, chunks, rows, bounds)
                for line, row in zip(lines, rows):
                    line.cached = list(row.reading.ids)
                continue
        _check(
            flights.popleft(),
            lines,
            rows,
            reader,
            stops,
            guesses,
            learns,
            bounds,
            on_text,
        )


def _worth_a_block(rows, lines, flights, bounds) -> bool:
    """Whether some row has steps to take that no block under way will take."""
    if not flights:
        return True
    under_way = sum(flight.count for flight in flights)
    going = [pair for pair in zip(lines, rows) if pair[1].reason is None]
    return len(flights) < 2 and any(
        line.due or len(row.tokens) + under_way < bounds.total for line, row in going
    )


def _correction(row: Row, line: _Line, bounds: Bounds) -> tuple[int, list[int]]:
    """How many cached tokens of a row to keep, and what to feed it then."""
    if not line.due or row.reason is not None:
        return len(line.cached), []
    ids = row.reading.ids
    kept = kept_tokens(line.cached, ids, bounds)
    return kept, ids[kept:]


def _fit_a_queue(keep: Sequence[int], chunks: Sequence[Sequence[int]]) -> bool:
    return all(
        len(chunk) <= QUEUE and (kept or not chunk) for kept, chunk in zip(keep, chunks)
    )


def _orders(rows, lines, keep, chunks, slots, bounds) -> list[Order]:
    return [
        Order(
            active=row.reason is None,
            anew=line.due,
            keep=kept,
            steps=len(row.tokens),
            last=row.reading.ids[-1],
            limit=_limit(len(row.reading.ids), slots, bounds),
            queued=len(chunk),
            queue=chunk + [0] * (QUEUE - len(chunk)),
        )
        for row, line, kept, chunk in zip(rows, lines, keep, chunks)
    ]


def _check(
    flight, lines, rows, reader, stops, guesses, learns, bounds, on_text
) -> None:
    """Take over what a block chose, as far as the text is what was fed."""
    block, follow = unpack_block(flight.block), flight.follow
    failed = chosen = 0
    for number, (order, line, row) in enumerate(zip(flight.orders, lines, rows)):
        if row.reason is not None:
            continue
        counts = not line.due and flight.number >= line.since
        if block.refused[number]:
            line.due |= counts
            continue
        cached, fed = line.cached, block.fed[number]
        if order.anew:
            cached[order.keep :] = order.queue[: order.queued]
        tokens = block.tokens[number, : block.count[number]].tolist()
        right = counts
        for place, token in enumerate(tokens):
            before = row.reading.ids
            if place < fed:
                follow(cached, token)
            if not right or row.reason is not None:
                continue
            absorb(row, token, reader, stops[token], bounds)
            right = row.reading.ids == cached
            if learns and not right and row.reason is None:
                learn(guesses, before, token, row.reading.ids)
        if not counts:
            continue
        chosen += len(tokens)
        line.due = not (right and block.open[number])
        if row.reason is None and not right:
            failed += 1
            kept = kept_tokens(cached, row.reading.ids, bounds)
            row.repairs += kept < len(cached)
        if on_text is not None:
            show(number, row, bounds, on_text)
    count_failures(guesses, failed, chosen)


def _ahead(guesses: Guesses, rows: int, on_text: Callable | None) -> int:
    """Steps of a block: those lost behind a wrong guess weigh as much as its start.

    They are half of the block on average, and the next one. The row that falls behind
    holds up the batch, so that the risks of all count.
    """
    most = MOST if on_text is None else STREAMED
    if not guesses.learns:
        return most
    wanted = math.sqrt(OVERHEAD / (1.5 * rows * max(guesses.risk, 1 / MEMORY)))
    return min(most, max(LEAST, round(wanted)))


def _limit(length: int, slots: int, bounds: Bounds) -> int:
    """Source tokens that a row of this length may have before the host must look."""
    ahead = [turn for turn in bounds.turns if turn >= length]
    return min([slots, bounds.context, *ahead])


def _histories(rows, total, sampling) -> tuple[np.ndarray, np.ndarray]:
    """Target tokens of the prompts, with room for more, where a penalty needs them."""
    if sampling.repetition_penalty == 1:
        return np.zeros((len(rows), 0), np.int32), np.zeros(len(rows), np.int32)
    known = np.array([len(row.prompt) for row in rows], np.int32)
    history = np.zeros((len(rows), _bucket(int(known.max()) + total, 64)), np.int32)
    for line, row in zip(history, rows):
        line[: len(row.prompt)] = row.prompt
    return history, known


def _mend(parts, state, keep, chunks, rows, bounds) -> DecodeState:
    """Rewind each row to `keep` source tokens and feed it its chunk."""
    steps = np.array([len(row.tokens) for row in rows], np.int32)
    longest = max(map(len, chunks))
    # A long-rope model must see in one piece what it reads with its other table.
    width = _bucket(longest if bounds.turns else min(longest, CHUNK), 4)
    for begin in range(0, longest, width):
        parted = [chunk[begin : begin + width] for chunk in chunks]
        lengths = np.array(list(map(len, parted)), np.int32)
        tokens = np.zeros((len(rows), width), np.int32)
        for line, part in zip(tokens, parted):
            line[: len(part)] = part
        fed = [kept + min(begin, len(chunk)) for kept, chunk in zip(keep, chunks)]
        state = _refeed(parts, state, np.array(fed, np.int32), steps, tokens, lengths)
    return state


def _bucket(size: int, least: int, most: int | None = None) -> int:
    """The smallest power of two times `least` that holds `size`, at most `most`."""
    bucket = least
    while bucket < size:
        bucket *= 2
    return bucket if most is None else min(bucket, most)


_begin = jax.jit(begin_state, static_argnums=1)
_grow = jax.jit(grow, static_argnums=1)
_block = jax.jit(
    decode_block, static_argnames=("sampling", "most"), donate_argnames="state"
)


@jax.jit(donate_argnames="state")
def _refeed(parts, state, keep, steps, tokens, lengths):
    return feed(parts, rewind_state(state, keep, steps), tokens, lengths)
