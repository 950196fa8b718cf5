"""Prompts in the tokens of two models, with what follows them in the target's.

    source   The cat sa|t on          read whole, by the source
    target   The | cat | s | at | on  the first `opening` and the last `closing` tokens
                                      are read by the target itself, those between them
                                      are mapped

Which source token stands for a target token that ends at character e:

* One tokenizer: the token at the same position.
* Two tokenizers: rule "after" takes the first source token that ends at or after e, as
  `text/pairing.py` pairs tokens, on which maps are fitted. A source token that ends
  after the prompt is not read; tokens that would need it take the last one that is
  read. Rule "before" takes the last source token that ends at or before e, or the first
  of the text if there is none. Of tokens inside one character the last is taken.
* Special tokens before a text are among the first `opening`, which the target reads.

Reference: the first tokens, on which attention depends: Xiao et al. 2023, arXiv
  2309.17453; that a model reads them itself: ours.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from helix_jax.caches.shape import PromptShape
from helix_jax.errors import CorpusError
from helix_jax.text.tokens import encode_texts, private_tokenizer, tokenizer_fingerprint
from helix_jax.types import Text

_LONGEST = 1 << 20
_AT_ONCE = 64  # texts


class Prompts(NamedTuple):
    """N prompts with their continuations.

    Attributes:
      ids: N text ids.
      source: [N, S] int32 source tokens, padded at the end.
      source_mask: [N, S] bool.
      target: [N, P] int32 target tokens of the prompt.
      opening: target tokens at its beginning that the target reads itself.
      closing: those at its end.
      places: [N, P - opening - closing] int32, the index in `source` of each mapped
        token.
      continuation: [N, C] int32 target tokens.
      characters: [N] int, of the continuation.
    """

    ids: list[str]
    source: np.ndarray
    source_mask: np.ndarray
    target: np.ndarray
    opening: int
    closing: int
    places: np.ndarray
    continuation: np.ndarray
    characters: np.ndarray

    def rows(self, rows: Any) -> "Prompts":
        """The prompts of some rows [n] int."""
        taken = {
            name: value[rows]
            for name, value in self._asdict().items()
            if isinstance(value, np.ndarray)
        }
        return self._replace(ids=[self.ids[row] for row in rows], **taken)

    def batches(self, size: int) -> Iterator[tuple["Prompts", int]]:
        """`size` rows at a time; the last batch is filled up with repeated rows.

        Yields:
          The rows, and how many of them are valid.
        """
        for start in range(0, len(self.ids), size):
            rows = np.arange(start, start + size)
            yield self.rows(rows % len(self.ids)), min(size, len(self.ids) - start)


def make_prompts(
    texts: Iterable[Text],
    tokenizers: tuple[Any, Any],
    shape: PromptShape,
    *,
    count: int,
) -> Prompts:
    """The first texts that are long enough, as prompts.

    Args:
      texts: any number.
      tokenizers: of the source and of the target.
      shape: how they are divided.
      count: most prompts.

    Raises:
      CorpusError: fewer than two texts are long enough.
    """
    equal = len({tokenizer_fingerprint(one) for one in tokenizers}) == 1
    backends = [private_tokenizer(one, max_tokens=_LONGEST) for one in tokenizers]
    found: list[tuple] = []
    waiting: list[Text] = []

    def take() -> None:
        written = [text.text for text in waiting]
        x, y = (encode_texts(own, written, with_ends=True) for own in backends)
        for row, text in enumerate(waiting):
            sides = (x.ids[row], x.known_ends[row]), (y.ids[row], y.known_ends[row])
            if (cut := _cut(*sides, shape, equal)) is not None:
                found.append((text.id, *cut))
        waiting.clear()

    least = shape.prompt + shape.continuation
    for text in texts:
        if len(text.text) >= least:  # a token has one character or more
            waiting.append(text)
        if len(waiting) == _AT_ONCE:
            take()
        if len(found) >= count:
            break
    take()
    found = found[:count]
    if len(found) < 2:
        raise CorpusError(
            f"{len(found)} of the texts have the {least} tokens of a prompt and its "
            "continuation, and two are needed; use longer texts, or a shorter prompt."
        )
    ids, source, target, places, continuation, characters, openings = zip(*found)
    longest = -(-max(map(len, source)) // 32) * 32
    padded = np.zeros((len(source), longest), np.int32)
    mask = np.arange(longest) < np.array([len(own) for own in source])[:, None]
    padded[mask] = np.concatenate(source)
    return Prompts(
        list(ids),
        padded,
        mask,
        np.array(target, np.int32),
        openings[0],  # the same number of special tokens precedes every text
        shape.closing,
        np.array(places),
        np.array(continuation, np.int32),
        np.array(characters),
    )


def token_places(
    x_ends: np.ndarray, y_ends: np.ndarray, *, rule: str = "after"
) -> np.ndarray:
    """The source token that stands for each target token; see the top of this file.

    Args:
      x_ends: [S] int, where each source token ends, -1 for special ones.
      y_ends: [T] int, the same of the target.
      rule: as for `PromptShape`.

    Returns:
      [T] int32 places in the source.
    """
    x_ends = np.maximum.accumulate(np.maximum(x_ends, 0))
    y_ends = np.maximum(y_ends, 0)
    if rule == "before":
        places = np.searchsorted(x_ends, y_ends, side="right") - 1
        begin = int(np.searchsorted(x_ends, 0, side="right"))  # of the text
        return np.maximum(places, min(begin, len(x_ends) - 1)).astype(np.int32)
    first = np.minimum(np.searchsorted(x_ends, y_ends), len(x_ends) - 1)
    return (np.searchsorted(x_ends, x_ends[first], side="right") - 1).astype(np.int32)


def _cut(
    x: tuple[Sequence[int], np.ndarray],
    y: tuple[Sequence[int], np.ndarray],
    shape: PromptShape,
    equal: bool,
) -> tuple | None:
    """Source and target tokens of one text, or None if it is too short."""
    (x_ids, x_ends), (y_ids, y_ends) = x, y
    end = shape.prompt + shape.continuation
    if len(y_ids) < end or y_ends[end - 1] < 0:
        return None
    special = int(np.argmax(y_ends >= 0))  # before the text
    opening = special + shape.opening
    mapped = slice(opening, shape.prompt - shape.closing)
    if mapped.start >= mapped.stop:
        return None
    last = int(y_ends[shape.prompt - 1])
    read = np.maximum.accumulate(np.maximum(x_ends, 0))
    count = shape.prompt if equal else int(np.searchsorted(read, last, side="right"))
    if equal:
        places = np.arange(mapped.start, mapped.stop, dtype=np.int32)
    elif count and read[count - 1] > 0:
        places = token_places(x_ends[:count], y_ends[mapped], rule=shape.rule)
    else:
        return None
    return (
        np.asarray(x_ids[:count], np.int32),
        y_ids[: shape.prompt],
        places,
        y_ids[shape.prompt : end],
        int(y_ends[end - 1]) - last,
        opening,
    )
