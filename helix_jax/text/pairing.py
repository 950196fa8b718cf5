"""Tokens of two tokenisations of one text, paired by where they end.

    y ends:    The | cat | sat         loop="target": one pair for each token of y, with
    x ends:  The cat | sa | t          the first token of x that has read as far

A token's state knows the text up to the token's end, so a pair is (x, y) with

    y = a token that ends at character e,   x = the first token whose end >= e.

Further rules:

* A token ends at a character only if it completes it. Byte-level tokenizers give each
  token inside a character the whole character's end; of tokens with equal ends the last
  one counts. This also covers tokenizers that put an empty token first.
* A token that ends at or before character 0 carries no text: special tokens and
  templates have the end -1 (`encode_texts`).
* An end before an earlier one counts as the furthest end so far: text that was read
  stays read.
* Where the other side was truncated earlier, there is no partner and no pair. If it was
  cut inside a character, its last token is taken to complete it; this affects at most
  one pair per text.

Reference: Gorbett and Jana 2026, arXiv 2603.18908, token alignment; the further rules
and the exact mode are ours.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Coverage(NamedTuple):
    """How much of the two sides was paired.

    Attributes:
      texts: texts of the batch.
      x_tokens, y_tokens: tokens that end at a character.
      x_paired, y_paired: how many of them are in a pair.
      pairs: number of pairs, equal to the paired tokens of the looped side.
      exact: pairs whose two tokens end at the same character.
    """

    texts: int
    x_tokens: int
    y_tokens: int
    x_paired: int
    y_paired: int
    pairs: int
    exact: int


class Pairing(NamedTuple):
    """Pairs of tokens, ordered by text and position.

    Attributes:
      text: [M] int64, index of the text in the batch.
      x, y: [M] int64, position in the text's tokens, including special tokens, so
        `states[text, x]` are the states of one side.
      coverage: what was paired.
    """

    text: np.ndarray
    x: np.ndarray
    y: np.ndarray
    coverage: Coverage


def pair_tokens(
    x_ends: Sequence[np.ndarray],
    y_ends: Sequence[np.ndarray],
    *,
    loop: str = "target",
    exact: bool = False,
) -> Pairing:
    """Pair the tokens of two tokenisations of the same texts.

    Args:
      x_ends: of each text [tokens] integer, the source's ends in characters, as
        `encode_texts(..., with_ends=True)` gives them.
      y_ends: the same for the target.
      loop: "target": one pair for each token of y, x may repeat; "source": one pair
        for each token of x, y may repeat.
      exact: keep only pairs whose tokens end at the same character; then the loop
        makes no difference.

    Returns:
      Pairing.

    Raises:
      ValueError: an unknown loop, or sides with different numbers of texts.
    """
    if loop not in ("target", "source"):
        raise ValueError(
            f'pair_tokens: loop must be "target" or "source", got {loop!r}.'
        )
    if len(x_ends) != len(y_ends):
        raise ValueError(
            "pair_tokens: x and y need the same texts, got "
            f"{len(x_ends)} and {len(y_ends)}."
        )
    x, y = _flatten(x_ends, "x"), _flatten(y_ends, "y")
    # One number per token that orders by text first, then by end.
    stride = 1 + max(int(side[0].max(initial=0)) for side in (x, y))
    x_keys, x_text, x_places = _completing(*x, stride)
    y_keys, y_text, y_places = _completing(*y, stride)
    looped, other = (y_keys, x_keys) if loop == "target" else (x_keys, y_keys)
    own_text, other_text = (y_text, x_text) if loop == "target" else (x_text, y_text)
    first = np.searchsorted(other, looped)  # the first of the other with end >= e
    paired = np.flatnonzero(first < len(other))
    paired = paired[other_text[first[paired]] == own_text[paired]]
    same = other[first[paired]] == looped[paired]
    if exact:
        paired, same = paired[same], same[same]
    partner = first[paired]
    x_paired, y_paired = (partner, paired) if loop == "target" else (paired, partner)
    distinct = int(np.count_nonzero(np.diff(partner))) + min(len(partner), 1)
    coverage = Coverage(
        texts=len(x_ends),
        x_tokens=len(x_keys),
        y_tokens=len(y_keys),
        x_paired=distinct if loop == "target" else len(paired),
        y_paired=len(paired) if loop == "target" else distinct,
        pairs=len(paired),
        exact=int(same.sum()),
    )
    return Pairing(own_text[paired], x_places[x_paired], y_places[y_paired], coverage)


def _flatten(ends: Sequence[np.ndarray], side: str) -> tuple[np.ndarray, np.ndarray]:
    """All ends concatenated, [N] int64, and the number of tokens of each text."""
    lengths = np.fromiter((len(one) for one in ends), np.int64, len(ends))
    flat = np.concatenate([np.zeros(0, np.int32), *ends])
    if flat.ndim != 1 or flat.dtype.kind != "i":
        raise ValueError(
            f"pair_tokens: {side}_ends must be vectors of signed integers, one a text, "
            f"got {flat.dtype}; ask encode_texts for them with with_ends=True."
        )
    return flat.astype(np.int64), lengths


def _completing(
    ends: np.ndarray, lengths: np.ndarray, stride: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens that complete a character: keys (increasing), texts and positions."""
    kept = np.flatnonzero(ends > 0)
    texts = np.repeat(np.arange(len(lengths)), lengths)[kept]
    keys = np.maximum.accumulate(texts * stride + ends[kept])
    last = np.append(keys[1:] != keys[:-1], np.ones(min(len(keys), 1), bool))
    starts = np.cumsum(lengths) - lengths
    keys, texts, kept = keys[last], texts[last], kept[last]
    return keys, texts, kept - starts[texts]
