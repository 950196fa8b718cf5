"""The host's side of generation: blocks on the device, checked against the text.

    block of guesses -> for each row: is the text, encoded anew, what was fed?
                        yes: go on;  no: rewind to the common prefix, feed the rest

While the host checks a block, the device runs the next one. The result equals that of
the slow loop, which encodes the whole text and runs the whole model for every token.
The number of steps of a block depends on how often guesses fail; if a step takes far
longer than the check of a block, the device waits for the host, so that nothing is fed
after a wrong guess.
"""

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from helix_jax.generation.decode import decode_block
from helix_jax.generation.guesses import (
    QUEUE,
    Guesses,
    count_failures,
    feeder,
    learn,
    lesson_table,
    no_merges,
)
from helix_jax.generation.orders import Block, Order, pack_orders, unpack_block
from helix_jax.generation.pace import Pace
from helix_jax.generation.reading import Reader, read_whole
from helix_jax.generation.rows import Bounds, Row, absorb, begin_anew, kept_tokens, show
from helix_jax.generation.rules import Rules
from helix_jax.generation.sampling import Sampling
from helix_jax.generation.state import (
    DecodeState,
    begin_state,
    feed,
    grow,
    is_unrolled,
    rewind_state,
    unroll,
)
from helix_jax.generation.stitch import Stitch
from helix_jax.types import Array

MOST, STREAMED = 32, 8  # most steps of a block; if text is streamed
CHUNK = 512  # tokens of a prompt that are fed at once

Correction = tuple[int, list[int]]  # source tokens of a row to keep, and to feed then


class Decoder(NamedTuple):
    """Everything that rows are extended with.

    Attributes:
      parts: the stitch.
      reader: how chosen tokens become source tokens.
      guesses: of the reader; they learn.
      rules: of the target's vocabulary, with these guesses.
      bounds: when rows end.
      sampling: how tokens are chosen.
      key: PRNG key.
      on_text: called with the row's number and each new piece of its text, or None.
    """

    parts: Stitch
    reader: Reader
    guesses: Guesses
    rules: Rules
    bounds: Bounds
    sampling: Sampling
    key: Array
    on_text: Callable[[int, str], None] | None = None

    @property
    def learns(self) -> bool:
        """Whether wrong guesses become lessons, which take fed tokens back."""
        # What crosses a turn must be read again, so the device may take nothing back.
        return self.guesses.learns and not self.bounds.turns


def run_rows(decoder: Decoder, rows: Sequence[Row]) -> None:
    """Extend every row until it ends.

    A text that the tokenizer reads differently as a whole than split into parts is
    written again, encoded as a whole for every token; a callback is then given only
    what goes beyond the characters that it already has.

    Args:
      decoder: extends them.
      rows: prompts; changed in place.
    """
    _run(decoder, rows)
    reader = decoder.reader
    if reader.native or not reader.splits:
        return
    whole = reader._replace(splits=None)
    wrong = [row for row in rows if read_whole(reader, row.reading) != row.reading.ids]
    for row in wrong:
        begin_anew(row, whole)
    if wrong:
        _run(decoder._replace(reader=whole), rows)


class _Flight(NamedTuple):
    """A block that the host has not checked."""

    number: int
    orders: Sequence[Order]
    count: int  # type: ignore[assignment]  # a tuple has a method of this name
    follow: Callable[[list[int], int], None]
    block: Array


@dataclasses.dataclass
class _Line:
    """The host's record of a row on the device.

    Attributes:
      cached: source tokens that it has after the last checked block, including those
        that are still being fed.
      behind: how many of these are still to be fed.
      due: the host must give it new orders; until then its results do not count.
      since: the first block that counts.
    """

    cached: list[int]
    behind: int = 0
    due: bool = True
    since: int = 0


def _run(decoder: Decoder, rows: Sequence[Row]) -> None:
    guesses, bounds, sampling = decoder.guesses, decoder.bounds, decoder.sampling
    most = MOST if decoder.on_text is None else STREAMED
    rules, merged = decoder.rules, guesses.merged
    if bounds.turns:
        rules, merged = dataclasses.replace(rules, merges=no_merges()), {}
    taught = guesses.taught if decoder.learns else {}
    lessons = lesson_table(guesses, taught)
    rules = jax.device_put(dataclasses.replace(rules, lessons=lessons))
    longest = max(len(row.reading.ids) for row in rows)
    room = bounds.total if decoder.reader.native else bounds.total * 5 // 4
    slots = _bucket(min(longest + room, bounds.context), 64, bounds.context)
    parts = unroll(decoder.parts)
    width = guesses.ids.shape[1]
    state = _begin(parts, slots, width, *_histories(rows, bounds.total, sampling))
    lines, flights = [_Line([]) for row in rows], deque[_Flight]()
    number = 0
    pace = Pace(len(rows), large=not is_unrolled(parts))
    while any(row.reason is None for row in rows):
        count, depth = pace.plan(guesses, most)
        if _worth_a_block(rows, lines, flights, bounds, depth):
            corrections = [_correction(*pair, bounds) for pair in zip(rows, lines)]
            longest = max(kept + len(chunk) for kept, chunk in corrections)
            if longest > slots:
                slots = _bucket(longest, 2 * slots, bounds.context)
                state = _grow(state, slots)
            if _fit_a_queue(corrections, width):
                if decoder.learns and guesses.taught is not taught:
                    taught = guesses.taught
                    lessons = lesson_table(guesses, taught)
                    rules = dataclasses.replace(rules, lessons=lessons)
                orders = _orders(rows, lines, corrections, slots, width, bounds)
                packed = pack_orders(
                    orders, total=bounds.total, count=count, unseen=bool(flights)
                )
                state, block = _block(
                    parts,
                    state,
                    rules,
                    packed,
                    decoder.key,
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
                state = _mend(parts, state, corrections, rows, bounds)
                for line, row in zip(lines, rows):
                    line.cached = list(row.reading.ids)
                    line.behind = 0 if line.due else line.behind
                continue
        flight = flights.popleft()
        begun = time.perf_counter()
        block = unpack_block(flight.block)
        if block.open.any():  # no step was skipped
            pace.note(begun, flight.count)
        _check(decoder, flight, block, lines, rows)


def _worth_a_block(
    rows: Sequence[Row],
    lines: Sequence[_Line],
    flights: Sequence[_Flight],
    bounds: Bounds,
    depth: int,
) -> bool:
    """Whether some row needs more steps than the blocks under way will take."""
    if not flights:
        return True
    under_way = sum(flight.count for flight in flights)
    going = [pair for pair in zip(lines, rows) if pair[1].reason is None]
    return len(flights) < depth and any(
        line.due or len(row.tokens) + under_way < bounds.total for line, row in going
    )


def _correction(row: Row, line: _Line, bounds: Bounds) -> Correction:
    """How many cached tokens of a row to keep, and what to feed it then."""
    fed = len(line.cached) - line.behind
    if not line.due or row.reason is not None:
        return fed, []
    ids = row.reading.ids
    kept = kept_tokens(line.cached[:fed], ids, bounds)
    if line.behind:  # its logits were not computed
        kept = min(kept, len(ids) - 1)
    return kept, ids[kept:]


def _fit_a_queue(corrections: Sequence[Correction], width: int) -> bool:
    return all(
        len(chunk) <= min(QUEUE, width) and (kept or not chunk)
        for kept, chunk in corrections
    )


def _orders(
    rows: Sequence[Row],
    lines: Sequence[_Line],
    corrections: Sequence[Correction],
    slots: int,
    width: int,
    bounds: Bounds,
) -> list[Order]:
    return [
        Order(
            active=row.reason is None,
            anew=line.due,
            keep=kept,
            steps=len(row.tokens),
            last=row.reading.ids[-1],
            limit=_limit(len(row.reading.ids), slots, bounds),
            queued=len(chunk),
            queue=chunk + [0] * (width - len(chunk)),
        )
        for row, line, (kept, chunk) in zip(rows, lines, corrections)
    ]


def _check(
    decoder: Decoder,
    flight: _Flight,
    block: Block,
    lines: Sequence[_Line],
    rows: Sequence[Row],
) -> None:
    """Accept the tokens of a block as long as the text is read as what was fed."""
    bounds, stops = decoder.bounds, decoder.rules.stops
    failed = chosen = 0
    for number, (order, line, row) in enumerate(zip(flight.orders, lines, rows)):
        if row.reason is not None:
            continue
        counts = not line.due and flight.number >= line.since
        if block.refused[number]:
            line.due |= counts
            continue
        cached = line.cached
        if order.anew:
            cached[order.keep :] = order.queue[: order.queued]
        line.behind = block.behind[number]
        tokens = block.tokens[number, : block.count[number]].tolist()
        fed = len(tokens) - (not block.open[number])
        right = counts
        for place, token in enumerate(tokens):
            before = row.reading.ids
            if place < fed:
                flight.follow(cached, token)
            if not right or row.reason is not None:
                continue
            absorb(row, token, decoder.reader, stops[token], bounds)
            right = row.reading.ids == cached
            if decoder.learns and not right and row.reason is None:
                learn(decoder.guesses, before, token, row.reading.ids)
        if not counts:
            continue
        chosen += len(tokens)
        line.due = not (right and block.open[number])
        if row.reason is None and not right:
            failed += 1
            kept = kept_tokens(cached, row.reading.ids, bounds)
            row.repairs += kept < len(cached)
        if decoder.on_text is not None:
            show(number, row, bounds, decoder.on_text)
    count_failures(decoder.guesses, failed, chosen)


def _limit(length: int, slots: int, bounds: Bounds) -> int:
    """Source tokens that a row of this length may reach without the host."""
    ahead = [turn for turn in bounds.turns if turn >= length]
    return min([slots, bounds.context, *ahead])


def _histories(
    rows: Sequence[Row], total: int, sampling: Sampling
) -> tuple[np.ndarray, np.ndarray]:
    """Target tokens of the prompts, with room for more, if a penalty needs them."""
    if sampling.repetition_penalty == 1:
        return np.zeros((len(rows), 0), np.int32), np.zeros(len(rows), np.int32)
    known = np.array([len(row.prompt) for row in rows], np.int32)
    history = np.zeros((len(rows), _bucket(int(known.max()) + total, 64)), np.int32)
    for line, row in zip(history, rows):
        line[: len(row.prompt)] = row.prompt
    return history, known


def _mend(
    parts: Stitch,
    state: DecodeState,
    corrections: Sequence[Correction],
    rows: Sequence[Row],
    bounds: Bounds,
) -> DecodeState:
    """Rewind each row to the source tokens that it keeps and feed it its chunk."""
    steps = np.array([len(row.tokens) for row in rows], np.int32)
    longest = max(len(chunk) for _, chunk in corrections)
    # A long-rope model must read in one piece what it reads with its other table.
    width = _bucket(longest if bounds.turns else min(longest, CHUNK), 4)
    for begin in range(0, longest, width):
        parted = [chunk[begin : begin + width] for _, chunk in corrections]
        lengths = np.array(list(map(len, parted)), np.int32)
        tokens = np.zeros((len(rows), width), np.int32)
        for line, part in zip(tokens, parted):
            line[: len(part)] = part
        fed = [kept + min(begin, len(chunk)) for kept, chunk in corrections]
        state = _refeed(parts, state, np.array(fed, np.int32), steps, tokens, lengths)
    return state


def _bucket(size: int, least: int, most: int | None = None) -> int:
    """The smallest `least` * 2^n that is `size` or more, at most `most`."""
    bucket = least
    while bucket < size:
        bucket *= 2
    return bucket if most is None else min(bucket, most)


_begin = jax.jit(begin_state, static_argnums=(1, 2))
_grow = jax.jit(grow, static_argnums=1)
_block = jax.jit(
    decode_block, static_argnames=("sampling", "most"), donate_argnames="state"
)


@jax.jit(donate_argnames="state")
def _refeed(
    parts: Stitch,
    state: DecodeState,
    keep: Array,
    steps: Array,
    tokens: Array,
    lengths: Array,
) -> DecodeState:
    return feed(parts, rewind_state(state, keep, steps), tokens, lengths)
