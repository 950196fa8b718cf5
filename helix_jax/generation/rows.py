"""A text that grows token by token, and where it ends."""

import dataclasses
from collections.abc import Callable, Sequence

from helix_jax.generation.guesses import common_prefix
from helix_jax.generation.reading import Reader, Reading, extend, open_reading
from helix_jax.generation.stitch import Stitch


@dataclasses.dataclass
class Row:
    """One text.

    Attributes:
      reading: the text, and the source tokens that it is read as.
      prompt: target tokens of the prompt, for the repetition penalty.
      tokens: target tokens chosen.
      reason: why it ended; None: it has not.
      repairs: how often tokens already fed were taken back.
      begin: number of characters of the prompt.
      answer: the text after the prompt, once it has ended.
      shown: number of its characters that the callback was given.
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
      turns: lengths beyond which the models read all tokens differently (long rope).
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


def check_lengths(rows: Sequence[Row], bounds: Bounds) -> None:
    """Refuse prompts that the models cannot read.

    Raises:
      ValueError: a prompt is empty or longer than the context.
    """
    for number, row in enumerate(rows):
        length = len(row.reading.ids)
        if not 0 < length <= bounds.context:
            raise ValueError(
                f"prompt {number} has {length} tokens, the models read 1 to "
                f"{bounds.context}; " + ("shorten it." if length else "it is empty.")
            )


def absorb(row: Row, token: int, reader: Reader, stop: bool, bounds: Bounds) -> None:
    """Append a chosen token, and record whether it ends the text.

    Args:
      row: changed in place.
      token: of the target.
      reader: how it becomes source tokens.
      stop: whether the token ends a text.
      bounds: what else ends it.
    """
    row.tokens.append(token)
    if stop:
        return _finish(row, "stop")
    before = len(row.reading.text)
    row.reading = extend(reader, row.reading, token)
    if (place := _stop_place(row, before, bounds.stop_strings)) is not None:
        row.reason, row.answer = "stop_string", row.reading.text[row.begin : place]
    elif len(row.tokens) == bounds.total:
        _finish(row, "length")
    elif len(row.reading.ids) > bounds.context:
        _finish(row, "context")
    return None


def kept_tokens(cached: Sequence[int], ids: Sequence[int], bounds: Bounds) -> int:
    """How many cached tokens to keep, so that the logits become those after `ids`."""
    if cached == ids:
        return len(cached)
    if any((len(cached) > turn) != (len(ids) > turn) for turn in bounds.turns):
        return 0
    return min(common_prefix(cached, ids), len(ids) - 1)


def begin_anew(row: Row, reader: Reader) -> None:
    """Return to the prompt alone, read by another reader."""
    old = row.reading
    row.reading = open_reading(
        reader, old.prefix, old.text[: row.begin], behind=old.behind
    )
    row.tokens, row.reason, row.answer = [], None, None


def show(number: int, row: Row, bounds: Bounds, on_text: Callable) -> None:
    """Give the callback the text that can no longer become part of a stop string."""
    answer = row.answer
    if answer is None:
        answer = row.reading.text[row.begin :]
        held = (
            size
            for stop in bounds.stop_strings
            for size in range(1, len(stop))
            if answer.endswith(stop[:size])
        )
        answer = answer[: len(answer) - max(held, default=0)]
    if piece := answer[row.shown :]:
        row.shown = len(answer)
        on_text(number, piece)


def _finish(row: Row, reason: str) -> None:
    unfinished = "\N{REPLACEMENT CHARACTER}" if row.reading.pending else ""
    row.reason, row.answer = reason, row.reading.text[row.begin :] + unfinished


def _stop_place(row: Row, before: int, stop_strings: Sequence[str]) -> int | None:
    """Where the first stop string that ends after character `before` begins."""
    if not stop_strings:
        return None
    text = row.reading.text
    places = [
        text.find(stop, max(row.begin, before + 1 - len(stop))) for stop in stop_strings
    ]
    return min((place for place in places if place >= 0), default=None)
