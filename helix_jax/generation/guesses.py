"""Which source tokens probably stand for a target token, to decode ahead of the text.

A guess is checked against the text after every block, so a wrong one costs time and
never changes a result.
"""

import numpy as np

from helix_jax.generation.decode import Rules
from helix_jax.generation.reading import Reader

LONGEST = 16  # source tokens; a target token that needs more waits for the host


def make_guesses(reader: Reader, vocabulary: int) -> tuple[np.ndarray, np.ndarray]:
    """The source tokens of each target token's bytes alone.

    Args:
      reader: from `make_reader`.
      vocabulary: V, rows of the target's head.

    Returns:
      [V, M] int32 and their number [V] int32, 0 where there is no guess.
    """
    if reader.native:
        return native_guesses(vocabulary)
    found = [_guess(reader, piece) for piece in reader.pieces[:vocabulary]]
    found = [one if len(one) <= LONGEST else () for one in found]
    width = max((len(one) for one in found), default=0) or 1
    ids = np.zeros((vocabulary, width), np.int32)
    lengths = np.zeros(vocabulary, np.int32)
    for token, one in enumerate(found):
        ids[token, : len(one)] = one
        lengths[token] = len(one)
    return ids, lengths


def native_guesses(vocabulary: int) -> tuple[np.ndarray, np.ndarray]:
    """Every token stands for itself."""
    return np.arange(vocabulary, dtype=np.int32)[:, None], np.ones(vocabulary, np.int32)


def make_rules(guesses, *, stops, suppressed) -> Rules:
    """Rules for `decode_block`; stops and suppressed are ids of the target."""
    ids, lengths = guesses

    def marked(chosen):
        table = np.zeros(len(lengths), bool)
        table[sorted(chosen)] = True
        return table

    return Rules(ids, lengths, marked(stops), marked(suppressed))


def _guess(reader: Reader, piece: bytes | None) -> tuple[int, ...]:
    if not piece:
        return ()
    try:
        return reader.inside(piece.decode())
    except UnicodeDecodeError:
        ids = tuple(int(reader.byte_ids[byte]) for byte in piece)
        return () if min(ids) < 0 else ids
