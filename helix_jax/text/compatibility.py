"""How similar two tokenizers are: shared vocabulary, and tokens that match on a text.

Both numbers depend on how a token is spelled. Tokenizers write the same bytes in
different alphabets (the token " the" is written with U+0120 by one and with U+2581 by
another), so every number has a spelling in its name:

    raw_special  the vocabulary's own strings, special tokens included
    raw          the same without special tokens
    decoded      what the tokenizer decodes the token alone to; sentencepiece drops the
                 first space there
    bytes        the bytes it stands for in running text (`token_bytes`)
    bare         those bytes without leading spaces

Vocabulary Jaccard, of the sets A and B of spellings: |A and B| / |A or B|.

Exact token match rate, over all texts: sum of matches / sum of what is counted.

    position  token k against token k; counted: tokens of the longer side
    pair      the pairs of `pair_tokens`, loop="target"; counted: pairs
    span      same bytes and same end, so the same span of the text; counted: tokens of
              either side, a match once
    boundary  a token of each side ends at the character; counted as for span

Without raw_special, tokens without a spelling (special, unknown) are left out.

Reference: Gorbett and Jana 2026, arXiv 2603.18908, section on tokenizers, which only
says "corresponding positions"; span and boundary are ours.
"""

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from helix_jax.text.pairing import Pairing, pair_tokens
from helix_jax.text.token_bytes import token_bytes
from helix_jax.text.tokens import Encoded

SPELLINGS = ("raw_special", "raw", "decoded", "bytes", "bare")
PAIRED = ("raw", "bytes", "bare")


class Rate(NamedTuple):
    """A share of tokens that match.

    Attributes:
      counted: "position", "pair", "span" or "boundary".
      spelling: the one compared, of SPELLINGS; empty if there is only one way.
    """

    counted: str
    spelling: str = ""

    @property
    def name(self) -> str:
        """The name of the rate in a summary."""
        return "_".join(filter(None, self))


RATES = {
    rate.name: rate
    for rate in (
        *(Rate("position", spelling) for spelling in SPELLINGS),
        *(Rate("pair", spelling) for spelling in PAIRED),
        Rate("span"),
        Rate("boundary"),
    )
}


class Spelled(NamedTuple):
    """How the tokens of a tokenizer are spelled.

    Attributes:
      spellings: name of SPELLINGS -> for each id a string or bytes, or None.
      dummy_space: the first token of a text begins with a space not in the text.
    """

    spellings: dict[str, Sequence[str | None] | Sequence[bytes | None]]
    dummy_space: bool


def spell(tokenizer: Any) -> Spelled:
    """The spellings of every token of a fast tokenizer.

    Raises:
      ValueError: as `token_bytes`.
    """
    table = token_bytes(tokenizer)
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    strings: list[str | None] = [None] * len(table.pieces)
    for string, index in backend.get_vocab(with_added_tokens=True).items():
        strings[index] = string
    known = [piece is not None for piece in table.pieces]
    shown = backend.decode_batch(
        [[index] for index in range(len(known))], skip_special_tokens=False
    )
    spellings: dict[str, Sequence[str | None] | Sequence[bytes | None]] = {
        "raw_special": strings,
        "raw": [string if kept else None for string, kept in zip(strings, known)],
        "decoded": [string if kept else None for string, kept in zip(shown, known)],
        "bytes": table.pieces,
        "bare": [p if p is None else p.lstrip(b" ") for p in table.pieces],
    }
    return Spelled(spellings, table.dummy_space)


def vocabulary_jaccard(x: Spelled, y: Spelled, *, spelling: str) -> float:
    """|A and B| / |A or B| of the spellings of two vocabularies.

    Raises:
      ValueError: an unknown spelling.
    """
    if spelling not in SPELLINGS:
        raise ValueError(
            f"vocabulary_jaccard: spelling must be one of {', '.join(SPELLINGS)}, got "
            f"{spelling!r}."
        )
    a, b = ({*side.spellings[spelling]} - {None} for side in (x, y))
    return len(a & b) / len(a | b) if a | b else 1.0


def match_counts(
    x: Spelled, y: Spelled, x_encoded: Encoded, y_encoded: Encoded
) -> dict[str, np.ndarray]:
    """Matches and what is counted, text by text, for every rate in RATES.

    Args:
      x: source.
      y: target, whose tokens are looped over in the pairs.
      x_encoded: of N whole texts, from `encode_texts(..., with_ends=True)`.
      y_encoded: of the same texts.

    Returns:
      name -> [N, 2] int64: matches, counted. A rate is the quotient of the sums.

    Raises:
      ValueError: texts that were cut, tokens without ends, or different texts.
    """
    x_ends, y_ends = _whole_ends(x_encoded), _whole_ends(y_encoded)
    codes = {name: _codes(x, y, x_encoded, y_encoded, name) for name in SPELLINGS}
    counts = {
        f"position_{name}": np.array(
            [_same_position(a, b) for a, b in zip(*codes[name])], np.int64
        ).reshape(-1, 2)
        for name in SPELLINGS
    }
    pairs = pair_tokens(x_ends, y_ends)
    for name in PAIRED:
        same = _same_tokens(pairs, *codes[name])
        counts[f"pair_{name}"] = _by_text(pairs, len(x_encoded.ids), same)
    exact = pair_tokens(x_ends, y_ends, exact=True)
    tokens = np.array(
        [
            np.count_nonzero(a > 0) + np.count_nonzero(b > 0)
            for a, b in zip(x_ends, y_ends)
        ],
        np.int64,
    )
    spans = _by_text(exact, len(tokens), _same_tokens(exact, *codes["bytes"]))
    for name, matches in (("span", spans[:, 0]), ("boundary", spans[:, 1])):
        counts[name] = np.stack([matches, tokens - matches], axis=1)
    return counts


def _whole_ends(encoded: Encoded) -> list[np.ndarray]:
    if encoded.ends is None or encoded.truncated.any():
        raise ValueError(
            "match_counts: needs whole texts and their ends; use encode_texts with "
            "with_ends=True and enough max_tokens."
        )
    return encoded.ends


def _codes(
    x: Spelled, y: Spelled, x_encoded: Encoded, y_encoded: Encoded, name: str
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """For each text [tokens] int64 on both sides: equal codes for equal spellings."""
    numbers: dict[Hashable, int] = {}
    first = _side_codes(x, x_encoded.ids, name, numbers)
    return first, _side_codes(y, y_encoded.ids, name, numbers)


def _side_codes(
    side: Spelled, ids: list[list[int]], name: str, numbers: dict[Hashable, int]
) -> list[np.ndarray]:
    """Codes of one side, -1 without a spelling; new spellings join `numbers`."""
    spelling = side.spellings[name]

    def number(piece: Hashable | None) -> int:
        return -1 if piece is None else numbers.setdefault(piece, len(numbers))

    used = set().union(*ids)
    code = np.full(len(spelling), -1, np.int64)
    for index in used:
        code[index] = number(spelling[index])
    texts = [code[np.array(of_text, np.int64)] for of_text in ids]
    if name == "bytes" and side.dummy_space:
        for text, of_text in zip(texts, ids):
            first = np.flatnonzero(text >= 0)[:1]
            for place in first:
                text[place] = number(spelling[of_text[place]].removeprefix(b" "))
    return texts


def _same_position(x: np.ndarray, y: np.ndarray) -> tuple[int, int]:
    x, y = x[x >= 0], y[y >= 0]
    both = min(len(x), len(y))
    return int(np.count_nonzero(x[:both] == y[:both])), max(len(x), len(y))


def _same_tokens(
    pairs: Pairing, x: list[np.ndarray], y: list[np.ndarray]
) -> np.ndarray:
    """[M] bool, pairs whose two tokens have the same spelling."""
    codes = []
    for side, places in ((x, pairs.x), (y, pairs.y)):
        lengths = np.array([len(text) for text in side], np.int64)
        starts = np.cumsum(lengths) - lengths
        flat = np.concatenate([np.zeros(0, np.int64), *side])
        codes.append(flat[starts[pairs.text] + places])
    return (codes[0] == codes[1]) & (codes[0] >= 0)


def _by_text(pairs: Pairing, texts: int, same: np.ndarray) -> np.ndarray:
    """[texts, 2] int64: matching pairs, and all pairs."""
    sums = [np.bincount(pairs.text[mask], minlength=texts) for mask in (same, ...)]
    return np.stack(sums, axis=1)
