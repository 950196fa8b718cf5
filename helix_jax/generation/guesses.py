"""Guesses of the source tokens for a target token, to decode ahead of the text.

What is fed for a target token is the lesson learnt for it after the last source token;
without one, its own bytes, whose first token is merged with the last source token where
the two are read as one.

A guess is checked against the text after every block, so a wrong one costs time and
never changes a result. A wrong guess becomes a lesson: when a word is read differently
as it grows, the tokens taken back and those fed instead nearly always follow from the
last source token and the target token.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache

import jax
import numpy as np

from helix_jax.generation.reading import Reader
from helix_jax.generation.rules import Lessons, Merges, Rules, hash_pair
from helix_jax.types import Array

LONGEST = 16  # source tokens; a target token that needs more is left to the host
QUEUE = 8  # least room for source tokens that the host gives a row to feed
LESSONS = 64  # the newest are kept
MEMORY = 2048  # target tokens
MERGES_A_PLACE = 4  # in the hash table; the few pairs without room are not guessed

Taught = Mapping[tuple[int, int], tuple[int, tuple[int, ...]]]


@dataclasses.dataclass
class Guesses:
    """What is fed for target tokens. It learns from wrong guesses, which changes only
    how long later runs take.

    Attributes:
      ids: [V, M] int32, the source tokens of each target token's bytes alone.
      lengths: [V] int32, their number; 0 where there is no guess.
      alone: `ids` as tuples.
      written: [V] bool, tokens that stand for bytes.
      merges: pairs of source tokens that are read as one, on the device.
      merged: the same pairs as (left, right) -> the one token.
      learns: wrong guesses become lessons.
      taught: (last source token, target token) -> how many source tokens are taken
        back, and which are fed then; replaced as a whole, never changed in place.
      risk: share of wrong guesses over about the last MEMORY target tokens.
      seen: target tokens that this share is over.
    """

    ids: Array
    lengths: Array
    alone: Sequence[tuple[int, ...]]
    written: np.ndarray
    merges: Merges
    merged: Mapping[tuple[int, int], int]
    learns: bool
    taught: Taught = dataclasses.field(default_factory=dict)
    risk: float = 1 / 256
    seen: int = 256


def make_guesses(reader: Reader, vocabulary: int) -> Guesses:
    """The source tokens of each target token's bytes alone.

    Args:
      reader: from `make_reader`.
      vocabulary: V, rows of the target's head.
    """
    written = np.zeros(vocabulary, bool)
    for token, piece in enumerate(reader.pieces[:vocabulary]):
        written[token] = piece is not None
    if reader.native:
        return dataclasses.replace(native_guesses(vocabulary), written=written)
    alone = [_guess(reader, piece) for piece in reader.pieces[:vocabulary]]
    alone += [()] * (vocabulary - len(alone))
    alone = [tokens if len(tokens) <= LONGEST else () for tokens in alone]
    width = max(QUEUE, *map(len, alone))
    ids = np.zeros((vocabulary, width), np.int32)
    for line, tokens in zip(ids, alone):
        line[: len(tokens)] = tokens
    counts = np.array(list(map(len, alone)), np.int32)
    table, lengths = jax.device_put((ids, counts))
    merges, merged = make_merges(reader)
    return Guesses(table, lengths, alone, written, merges, merged, True)


@lru_cache(maxsize=8)
def native_guesses(vocabulary: int) -> Guesses:
    """Every token stands for itself, and there is nothing to learn."""
    ids, ones = np.arange(vocabulary, dtype=np.int32)[:, None], np.ones(vocabulary)
    table, lengths = jax.device_put((ids, ones.astype(np.int32)))
    alone = [(token,) for token in range(vocabulary)]
    written = ones.astype(bool)
    return Guesses(table, lengths, alone, written, no_merges(), {}, False, risk=0)


def make_merges(reader: Reader) -> tuple[Merges, dict[tuple[int, int], int]]:
    """Pairs of source tokens whose joined bytes are always read as one third token."""
    ids: dict[bytes, int] = {}
    for index, piece in enumerate(reader.own_pieces):
        if piece:
            ids.setdefault(piece, index)
    found = [
        (left, right, whole)
        for piece, whole in ids.items()
        if len(piece) > 1 and _is_read_as(reader, piece, whole)
        for cut in range(1, len(piece))
        if (left := ids.get(piece[:cut])) is not None
        and (right := ids.get(piece[cut:])) is not None
    ]
    table = np.array(found, np.int32).reshape(-1, 3)
    size = 1 << max(4, len(table).bit_length())
    places = hash_pair(table[:, 0], table[:, 1]) & np.uint32(size - 1)
    order = np.argsort(places, kind="stable")
    table, places = table[order], places[order]
    column = np.arange(len(places)) - np.searchsorted(places, places)
    kept = column < MERGES_A_PLACE
    merges = np.full((3, size, MERGES_A_PLACE), -1, np.int32)
    merges[:, places[kept], column[kept]] = table[kept].T
    pairs = {(left, right): whole for left, right, whole in table[kept].tolist()}
    return Merges(*jax.device_put(tuple(merges))), pairs


def no_merges() -> Merges:
    """Empty merges, for a reader whose tokens never change."""
    return Merges(*np.zeros((3, 0, MERGES_A_PLACE), np.int32))


def _is_read_as(reader: Reader, piece: bytes, index: int) -> bool:
    try:
        return reader.inside(piece.decode()) == (index,)
    except UnicodeDecodeError:
        return False


def make_rules(
    guesses: Guesses, *, stops: Collection[int], suppressed: Collection[int] = ()
) -> Rules:
    """Rules for `decode_block`, without lessons.

    Args:
      guesses: of the reader.
      stops: ids of the target that end a text.
      suppressed: ids never chosen, besides those that are neither bytes nor a stop.
    """
    ends, barred = np.zeros_like(guesses.written), ~guesses.written
    ends[list(stops)] = True
    barred &= ~ends
    barred[list(suppressed)] = True
    return Rules(
        guesses=guesses.ids,
        lengths=guesses.lengths,
        stops=ends,
        suppressed=barred,
        merges=guesses.merges,
        lessons=lesson_table(guesses, {}),
    )


def learn(
    guesses: Guesses, before: Sequence[int], token: int, after: Sequence[int]
) -> None:
    """Remember that `token` turned the source tokens `before` into `after`."""
    same = common_prefix(before, after)
    lesson = len(before) - same, tuple(after[same:])
    if 0 < len(lesson[1]) <= guesses.ids.shape[1]:
        key = before[-1], token
        others = [item for item in guesses.taught.items() if item[0] != key]
        guesses.taught = dict([*others, (key, lesson)][-LESSONS:])


def count_failures(guesses: Guesses, failed: int, chosen: int) -> None:
    """Update the share of wrong guesses with `failed` of `chosen` target tokens."""
    guesses.seen = min(guesses.seen + chosen, MEMORY)
    guesses.risk += (failed - guesses.risk * chosen) / max(guesses.seen, chosen, 1)


def lesson_table(guesses: Guesses, taught: Taught) -> Lessons:
    """Lessons in the device's form; empty where nothing was learnt."""
    size, width = (LESSONS if guesses.learns else 0), guesses.ids.shape[1]
    last, token, back, lengths = np.zeros((4, size), np.int32)
    ids = np.zeros((size, width), np.int32)
    last[:] = -1
    for number, (key, (taken, fed)) in enumerate(taught.items()):
        last[number], token[number] = key
        back[number], lengths[number] = taken, len(fed)
        ids[number, : len(fed)] = fed
    return jax.device_put(Lessons(last, token, back, ids, lengths))


def feeder(
    guesses: Guesses, taught: Taught, merged: Mapping[tuple[int, int], int]
) -> Callable[[list[int], int], None]:
    """A function that feeds a target token to a list of source tokens in place."""

    def feed(cached: list[int], token: int) -> None:
        last = cached[-1]
        if (lesson := taught.get((last, token))) is not None:
            cached[len(cached) - lesson[0] :] = lesson[1]
            return
        ids = guesses.alone[token]
        if ids and (whole := merged.get((last, ids[0]))) is not None:
            cached[-1:] = whole, *ids[1:]
        else:
            cached += ids

    return feed


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens at the beginning are equal."""
    pairs = enumerate(zip(a, b))
    return next((place for place, (x, y) in pairs if x != y), min(len(a), len(b)))


def _guess(reader: Reader, piece: bytes | None) -> tuple[int, ...]:
    if not piece:
        return ()
    try:
        return reader.inside(piece.decode())
    except UnicodeDecodeError:
        ids = tuple(int(reader.byte_ids[byte]) for byte in piece)
        return () if min(ids) < 0 else ids
