"""Paired token states of two models on the same texts, streamed without a store.

Texts are read in windows of a few thousand tokens; both models run over a window, its
tokens are paired, and the pairs come in blocks of equal size. Memory holds one window,
whatever the number of pairs; the stream can be read again and gives the same blocks.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from helix_jax.activations.gather import text_starts
from helix_jax.activations.token_states import TokenSide, require_embedded, token_states
from helix_jax.errors import CorpusError
from helix_jax.text.pairing import pair_tokens
from helix_jax.text.tokens import (
    Encoded,
    encode_texts,
    private_tokenizer,
    tokenizer_fingerprint,
)
from helix_jax.types import Text


class TokenBlock(NamedTuple):
    """N pairs of tokens; what is said of x also holds for y.

    Attributes:
      x, y: [n, N, dx] and [m, N, dy] float32 states.
      text_ids: [N] object, id of the text.
      position_x, position_y: [N] int32, index of the token in its text.
      end_x, end_y: [N] int32, character at which the token ends; 0 for a token in front
        of the text.
      next_x, next_y: [N] int32, the next token, -1 at the end of the text; a special
        token that the tokenizer adds there does not count.
      next_end_x, next_end_y: [N] int32, character at which that token ends.
    """

    x: np.ndarray
    y: np.ndarray
    text_ids: np.ndarray
    position_x: np.ndarray
    position_y: np.ndarray
    end_x: np.ndarray
    end_y: np.ndarray
    next_x: np.ndarray
    next_y: np.ndarray
    next_end_x: np.ndarray
    next_end_y: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class TokenPairs:
    """A stream of `TokenBlock`s that can be read again; see the top of this file.

    Attributes:
      source, target: x and y.
      texts: returns the texts, from the beginning, each time it is called.
      max_tokens: on each side; longer texts are truncated.
      block_rows: pairs per block; the last may have fewer.
      window_tokens: about how many tokens of each side are read at once.
      token_budget: tokens per forward pass, padding included.
      one_shape: pad all texts of a window to one length.
      loop, exact: as for `pair_tokens`. If both sides share one tokenizer, tokens at
        the same position are paired instead, including special tokens.
    """

    source: TokenSide
    target: TokenSide
    texts: Callable[[], Iterable[Text]]
    max_tokens: int = 512
    block_rows: int = 8192
    window_tokens: int = 32768
    token_budget: int = 4096
    one_shape: bool = False
    loop: str = "target"
    exact: bool = False

    def __iter__(self) -> Iterator[TokenBlock]:
        """Blocks of `block_rows` pairs.

        Raises:
          CorpusError: a model has no embedding for a token.
        """
        return _blocks_of(self._windows(), self.block_rows)

    def rows(self, x: int = 0, y: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(x [N, dx], y [N, dy]) of one layer of each side, for `accumulate`."""
        return ((block.x[x], block.y[y]) for block in self)

    def read(self, limit: int, x: int = 0, y: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """The first `limit` pairs (or all, if fewer) as two arrays.

        Raises:
          CorpusError: there is no pair.
        """
        parts_x, parts_y, held = [], [], 0
        for one_x, one_y in self.rows(x, y):
            parts_x.append(one_x[: limit - held])
            parts_y.append(one_y[: limit - held])
            held += len(parts_x[-1])
            if held >= limit:
                break
        if not held:
            raise CorpusError("the texts give no pair of tokens.")
        return np.concatenate(parts_x), np.concatenate(parts_y)

    def _windows(self) -> Iterator[TokenBlock]:
        sides = (self.source, self.target)
        backends = [
            private_tokenizer(
                side.tokenizer, max_tokens=min(self.max_tokens, side.spec.max_tokens)
            )
            for side in sides
        ]

        def states(side: TokenSide, encoded: Encoded) -> np.ndarray:
            return token_states(
                side.states, encoded.ids, self.token_budget, one_shape=self.one_shape
            )

        equal = len({tokenizer_fingerprint(side.tokenizer) for side in sides}) == 1
        for texts in self._text_windows():
            written = [text.text for text in texts]
            x, y = (encode_texts(own, written, with_ends=True) for own in backends)
            for side, own in zip(sides, (x, y)):
                require_embedded(side, texts, own)
            if equal:
                places = _equal_places(x, y)
            else:
                found = pair_tokens(
                    x.known_ends, y.known_ends, loop=self.loop, exact=self.exact
                )
                places = found.text, found.x, found.y
            if len(places[0]):
                states_x = states(self.source, x)
                states_y = (
                    states_x if self.target is self.source else states(self.target, y)
                )
                yield _paired(
                    texts, places, _Flat.of(x), _Flat.of(y), states_x, states_y
                )

    def _text_windows(self) -> Iterator[list[Text]]:
        """Windows of texts, of about `window_tokens` tokens by their characters."""
        window, characters = [], 0
        most = 4 * self.max_tokens  # characters that count: the rest is truncated
        for text in self.texts():
            if not text.text.strip():
                continue
            window.append(text)
            characters += min(len(text.text), most)
            if characters >= 4 * self.window_tokens:
                yield window
                window, characters = [], 0
        if window:
            yield window


class _Flat(NamedTuple):
    """The tokens of some texts in sequence, and where each text starts."""

    starts: np.ndarray
    ids: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, encoded: Encoded) -> "_Flat":
        return cls(
            text_starts(encoded.ids),
            np.concatenate(encoded.ids).astype(np.int32),
            np.concatenate(encoded.known_ends).astype(np.int32),
        )


def _equal_places(x: Encoded, y: Encoded) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Text and positions of the tokens that both sides have."""
    shared = np.array([min(len(a), len(b)) for a, b in zip(x.ids, y.ids)])
    text = np.repeat(np.arange(len(shared)), shared)
    place = np.arange(len(text)) - np.repeat(np.cumsum(shared) - shared, shared)
    return text, place, place


def _paired(
    texts: list[Text],
    places: tuple[np.ndarray, np.ndarray, np.ndarray],
    x: _Flat,
    y: _Flat,
    states_x: np.ndarray,
    states_y: np.ndarray,
) -> TokenBlock:
    text, *positions = places
    columns = []
    for side, position in zip((x, y), positions):
        row = side.starts[text] + position
        after = np.minimum(row + 1, side.starts[text + 1] - 1)
        following = np.where(
            (after > row) & (side.ends[after] >= 0), side.ids[after], -1
        )
        ends = np.maximum(side.ends, 0)
        columns.append((position, ends[row], following, ends[after], row))
    ids = np.array([own.id for own in texts], object)[text]
    pairs = [column for two in zip(*columns) for column in two]
    *numbers, row_x, row_y = (column.astype(np.int32) for column in pairs)
    return TokenBlock(states_x[:, row_x], states_y[:, row_y], ids, *numbers)


def _blocks_of(windows: Iterable[TokenBlock], rows: int) -> Iterator[TokenBlock]:
    """The same pairs in blocks of `rows`."""
    held: TokenBlock | None = None
    for window in windows:
        if held is not None:
            joined = (np.concatenate(two, _axis(two[0])) for two in zip(held, window))
            window = TokenBlock(*joined)
        count = len(window.text_ids)
        for start in range(0, count - rows + 1, rows):
            yield _cut(window, start, start + rows)
        done = count // rows * rows
        held = _cut(window, done, count) if done < count else None
    if held is not None:
        yield held


def _axis(column: np.ndarray) -> int:
    return 1 if column.ndim == 3 else 0


def _cut(block: TokenBlock, start: int, stop: int) -> TokenBlock:
    return TokenBlock(
        *(own[:, start:stop] if own.ndim == 3 else own[start:stop] for own in block)
    )
