"""The host's side of generation: blocks on the device, checked against the text.

    block of guesses -> for each row: is the text, encoded anew, what was fed?
                        yes: on;  no: rewind to the common prefix, feed what is right

The result is that of the slow loop, which encodes the whole text and runs the whole
model for every token. How many steps run ahead follows from how often guesses fail.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import jax
import numpy as np

from helix_jax.generation.decode import (
    DecodeState,
    Orders,
    Rules,
    begin_state,
    decode_block,
    feed,
    grow,
    rewind_state,
)
from helix_jax.generation.reading import Reader, Reading, extend, read_whole
from helix_jax.generation.sampling import Sampling
from helix_jax.generation.stitch import Stitch
from helix_jax.types import Array

MOST, STREAMED = 32, 8  # tokens a block, and where somebody watches
CHUNK = 512  # tokens of a prompt that are fed at once
QUEUE = 8  # source tokens that a row may be fed in a block before it goes on
OVERHEAD = 1.5  # of a block, in steps


@dataclasses.dataclass
class Row:
    """One text as it grows.

    Attributes:
      reading: the text, and the source tokens that it is read as.
      prompt: target tokens of the prompt, for the repetition penalty.
      tokens: target tokens chosen.
      reason: why it ended; None while it has not.
      repairs: how often tokens already fed were taken back.
      begin: characters of the prompt.
      answer: what stands behind the prompt, once the text has ended.
      shown: characters of it that the callback was given.
    """

    reading: Reading
    prompt: Sequence[int] = ()
    tokens: list[int] = dataclasses.field(default_factory=list)
    reason: str | None = None
    repairs: int = 0
    begin: int = 0
    answer: str | None = None
    shown: int = 0


@dataclasses.dataclass(frozen=True)
class Bounds:
    """When a text ends.

    Attributes:
      total: tokens a row may have.
      context: source tokens that the models can read.
      turns: lengths beyond which the models read all tokens otherwise (long rope).
      stop_strings: end a text where one appears.
    """

    total: int
    context: int
    turns: tuple[int, ...]
    stop_strings: tuple[str, ...] = ()


def bounds_of(parts: Stitch, total: int, stop_strings: Sequence[str] = ()) -> Bounds:
    """The bounds that the models of a stitch set."""
    specs = [parts.source.spec]
    if parts.target.layer < parts.target.spec.num_layers:
        specs.append(parts.target.spec)
    ropes = [rope for spec in specs for rope in (spec.rope, spec.local_rope) if rope]
    turns = {rope.long_after for rope in ropes if rope.long_after is not None}
    context = min(spec.max_tokens for spec in specs)
    return Bounds(total, context, tuple(sorted(turns)), tuple(stop_strings))


def run_rows(
    parts: Stitch,
    reader: Reader,
    rows: Sequence[Row],
    rules: Rules,
    bounds: Bounds,
    *,
    sampling: Sampling,
    key: Array,
    on_text: Callable[[int, str], None] | None = None,
) -> None:
    """Extend every row until it ends.

    Args:
      parts: the stitch.
      reader: how chosen tokens become source tokens.
      rows: prompts; changed in place.
      rules: of the target's vocabulary.
      bounds: when rows end.
      sampling: static.
      key: PRNG key.
      on_text: called with the row's number and each new piece of its text.
    """
    lengths, stops = np.asarray(rules.lengths), np.asarray(rules.stops)
    guesses = [
        tuple(ids[:n]) for ids, n in zip(np.asarray(rules.guesses).tolist(), lengths)
    ]
    rules = jax.device_put(rules)
    longest = max(len(row.reading.ids) for row in rows)
    room = bounds.total if reader.native else bounds.total * 5 // 4
    slots = _bucket(min(longest + room, bounds.context), 64, bounds.context)
    parts, state = _begin(parts, slots, *_histories(rows, bounds.total, sampling))
    state = _mend(
        parts, state, [0] * len(rows), [row.reading.ids for row in rows], rows, bounds
    )
    keep, chunks = [len(row.reading.ids) for row in rows], [[] for row in rows]
    failed = 0
    while any(row.reason is None for row in rows):
        chosen = sum(len(row.tokens) for row in rows)
        count = MOST if on_text is None else STREAMED
        if not reader.native:
            risk = (failed + 1) / (chosen + 16)
            count = min(count, max(1, round(math.sqrt(2 * OVERHEAD / risk))))
        orders = _orders(rows, keep, chunks, slots, count, bounds)
        state, block = _block(
            parts, state, rules, key, orders, sampling=sampling, most=MOST
        )
        block = jax.device_get(block)
        for number in np.flatnonzero(orders.active):
            row = rows[number]
            tokens = block.tokens[number, : block.count[number]].tolist()
            fed = [index for token in tokens for index in guesses[token]]
            cached = row.reading.ids + fed[: block.fed[number]]
            _absorb(row, tokens, cached, reader, guesses, stops, bounds)
            keep[number], chunks[number] = len(cached), []
            if row.reason is None:
                kept = keep[number] = _kept(cached, row.reading.ids, bounds)
                chunks[number] = row.reading.ids[kept:]
                row.repairs += kept < len(cached)
            if on_text is not None:
                _show(int(number), row, bounds, on_text)
        failed += sum(map(bool, chunks))
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
    _check_readings(reader, rows)


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
        limit=np.array([_limit(one, slots, bounds) for one in lengths], np.int32),
        total=np.int32(bounds.total),
        count=np.int32(count),
    )


def _absorb(row, tokens, cached, reader, guesses, stops, bounds) -> None:
    """Take over a block's tokens up to the end of the text or the first wrong guess."""
    end = len(row.reading.ids)
    for token in tokens:
        row.tokens.append(token)
        if stops[token]:
            return _finish(row, "stop")
        before = len(row.reading.text)
        row.reading = extend(reader, row.reading, token)
        if (place := _stop_place(row, before, bounds.stop_strings)) is not None:
            row.reason, row.answer = "stop_string", row.reading.text[row.begin : place]
            return None
        if len(row.tokens) == bounds.total:
            return _finish(row, "length")
        if len(row.reading.ids) > bounds.context:
            return _finish(row, "context")
        end += len(guesses[token])
        if row.reading.ids != cached[:end]:
            return None
    return None


def _finish(row: Row, reason: str) -> None:
    unfinished = "\N{REPLACEMENT CHARACTER}" if row.reading.pending else ""
    row.reason, row.answer = reason, row.reading.text[row.begin :] + unfinished


def _stop_place(row: Row, before: int, stop_strings: Sequence[str]) -> int | None:
    """Where the first stop string stands that ends behind character `before`."""
    text = row.reading.text
    places = [
        text.find(stop, max(row.begin, before + 1 - len(stop))) for stop in stop_strings
    ]
    return min((place for place in places if place >= 0), default=None)


def _kept(cached: Sequence[int], ids: Sequence[int], bounds: Bounds) -> int:
    """How many cached tokens stay, so that the row's logits are those behind `ids`."""
    if cached == ids:
        return len(cached)
    if any((len(cached) > turn) != (len(ids) > turn) for turn in bounds.turns):
        return 0
    pairs = enumerate(zip(cached, ids))
    same = next((place for place, (a, b) in pairs if a != b), len(cached))
    return min(same, len(ids) - 1)


def _limit(length: int, slots: int, bounds: Bounds) -> int:
    """Source tokens that a row of this length may have before the host must look."""
    ahead = [turn for turn in bounds.turns if turn >= length]
    return min([slots, bounds.context, *ahead])


def _show(number: int, row: Row, bounds: Bounds, on_text: Callable) -> None:
    """Give the callback what can no longer become part of a stop string."""
    answer = row.answer
    if answer is None:
        answer = row.reading.text[row.begin :]
        held = (
            size for stop in bounds.stop_strings for size in range(1, len(stop))
            if answer.endswith(stop[:size])
        )  # fmt: skip
        answer = answer[: len(answer) - max(held, default=0)]
    if piece := answer[row.shown :]:
        row.shown = len(answer)
        on_text(number, piece)


def _check_readings(reader: Reader, rows: Sequence[Row]) -> None:
    for row in rows:
        whole = row.reading.ids if reader.native else read_whole(reader, row.reading)
        if whole != row.reading.ids:
            raise ValueError(
                "the source's tokenizer reads a text otherwise than in parts split "
                "before a word; report its tokenizer.json."
            )


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
