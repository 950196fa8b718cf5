"""The host's side of generation: blocks on the device, checked against the text.

    block of guesses -> for each row: is the text, encoded anew, what was fed?
                        yes: on;  no: rewind to the common prefix, feed what is right

The result is that of the slow loop, which encodes the whole text and runs the whole
model for every token. How many steps run ahead follows from how often guesses fail.
"""

import math
from collections.abc import Callable, Sequence

import jax
import numpy as np

from helix_jax.generation.decode import Orders, Rules, decode_block
from helix_jax.generation.guesses import (
    Guesses,
    count_failures,
    feeder,
    learn,
    lesson_table,
)
from helix_jax.generation.reading import Reader, read_whole
from helix_jax.generation.rows import (
    Bounds,
    Row,
    absorb,
    begin_anew,
    kept_tokens,
    show,
)
from helix_jax.generation.sampling import Sampling
from helix_jax.generation.state import (
    DecodeState,
    begin_state,
    feed,
    grow,
    rewind_state,
)
from helix_jax.generation.stitch import Stitch
from helix_jax.types import Array

LEAST, MOST, STREAMED = 4, 32, 8  # tokens a block; at most, where somebody watches
CHUNK = 512  # tokens of a prompt that are fed at once
QUEUE = 8  # source tokens that a row may be fed in a block before it goes on
OVERHEAD = 1.5  # of a block, in steps


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
    whole = reader._replace(splits=False)
    wrong = [row for row in rows if read_whole(reader, row.reading) != row.reading.ids]
    for row in wrong:
        begin_anew(row, whole)
    if wrong:
        _run(parts, whole, rows, *rest)


def _run(parts, reader, rows, guesses, rules, bounds, sampling, key, on_text) -> None:
    stops = rules.stops
    rules = jax.device_put(rules)
    longest = max(len(row.reading.ids) for row in rows)
    room = bounds.total if reader.native else bounds.total * 5 // 4
    slots = _bucket(min(longest + room, bounds.context), 64, bounds.context)
    parts, state = _begin(parts, slots, *_histories(rows, bounds.total, sampling))
    state = _mend(
        parts, state, [0] * len(rows), [row.reading.ids for row in rows], rows, bounds
    )
    keep, chunks = [len(row.reading.ids) for row in rows], [[] for row in rows]
    # What crosses a turn must be read anew, so that the device takes nothing back.
    learns = guesses.learns and not bounds.turns
    taught = guesses.taught if learns else {}
    lessons = lesson_table(guesses, taught)
    while any(row.reason is None for row in rows):
        count = _ahead(guesses, len(rows), on_text)
        orders = _orders(rows, keep, chunks, slots, count, bounds)
        state, block = _block(
            parts, state, rules, lessons, key, orders, sampling=sampling, most=MOST
        )
        block, follow = jax.device_get(block), feeder(guesses, taught)
        failed = chosen = 0
        for number in np.flatnonzero(orders.active).tolist():
            row, fed = rows[number], block.fed[number]
            cached, right = list(row.reading.ids), True
            tokens = block.tokens[number, : block.count[number]].tolist()
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
            keep[number], chunks[number] = len(cached), []
            chosen += len(tokens)
            if row.reason is None:
                kept = keep[number] = kept_tokens(cached, row.reading.ids, bounds)
                chunks[number] = row.reading.ids[kept:]
                row.repairs += kept < len(cached)
                failed += not right
            if on_text is not None:
                show(number, row, bounds, on_text)
        count_failures(guesses, failed, chosen)
        if learns and guesses.taught is not taught:
            taught = guesses.taught
            lessons = lesson_table(guesses, taught)
        longest = max(map(sum, zip(keep, map(len, chunks))))
        if longest > slots:
            slots = _bucket(longest, 2 * slots, bounds.context)
            state = _grow(state, slots)
        if any(
            len(one) > QUEUE or (one and not kept) for kept, one in zip(keep, chunks)
        ):
            state = _mend(parts, state, keep, chunks, rows, bounds)
            keep = [kept + len(chunk) for kept, chunk in zip(keep, chunks)]
            chunks = [[] for row in rows]


def _ahead(guesses: Guesses, rows: int, on_text: Callable | None) -> int:
    """Steps of a block: those lost behind a wrong guess weigh as much as its start.

    The row that falls behind holds up the batch, so that the risks of all count.
    """
    most = MOST if on_text is None else STREAMED
    wanted = math.sqrt(2 * OVERHEAD / max(rows * guesses.risk, 1e-6))
    return min(most, max(LEAST, round(wanted)))


def _orders(rows, keep, chunks, slots, count, bounds) -> Orders:
    queue = np.zeros((len(rows), QUEUE), np.int32)
    for line, chunk in zip(queue, chunks):
        line[: len(chunk)] = chunk
    lengths = [len(row.reading.ids) for row in rows]
    return Orders(
        active=np.array([row.reason is None for row in rows]),
        keep=np.array(keep, np.int32),
        steps=np.array([len(row.tokens) for row in rows], np.int32),
        queue=queue,
        queued=np.array(list(map(len, chunks)), np.int32),
        last=np.array([row.reading.ids[-1] for row in rows], np.int32),
        limit=np.array([_limit(one, slots, bounds) for one in lengths], np.int32),
        total=np.int32(bounds.total),
        count=np.int32(count),
    )


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
