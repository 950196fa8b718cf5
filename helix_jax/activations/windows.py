"""The corpus in windows: read, checked and tokenised on the host."""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from helix_jax.activations.writer import Progress
from helix_jax.errors import CorpusError, StoreError
from helix_jax.text.tokens import Encoded, encode_texts
from helix_jax.types import Text


class TextWindow(NamedTuple):
    """Some consecutive texts, ready for the device.

    Attributes:
      ids, labels: of the texts that have tokens; a label is an int or None.
      encoded: their tokens.
      lengths: [n] int, tokens of each.
      progress: the store's progress once this window is in it.
    """

    ids: list[str]
    labels: list[int | None]
    encoded: Encoded
    lengths: np.ndarray
    progress: Progress


def read_windows(
    texts: Iterable[Text],
    backend: Tokenizer,
    *,
    size: int,
    start: Progress,
    vocab_size: int,
    token_rows: bool = False,
    on_empty: str = "error",
    store: str = "the store",
) -> Iterator[TextWindow]:
    """Windows of `size` texts after those that the store holds already.

    Args:
      texts: the corpus from its beginning.
      backend: from `private_tokenizer`.
      size: texts a window.
      start: the store's progress.
      vocab_size: V, rows of the model's embedding.
      token_rows: a row is a token, not a text.
      on_empty: "error", or "skip" to leave out texts without tokens and count them.
      store: its name, for messages.

    Raises:
      CorpusError: a text is empty, is not text, repeats an id, or has a token that the
        model does not embed.
      StoreError: the texts that the store holds are not those of this corpus.
    """
    stream = iter(texts)
    hasher = hashlib.sha256()
    seen: set[str] = set()
    _skip_known(stream, start, size, hasher, seen, store)
    progress = start
    while window := list(itertools.islice(stream, size)):
        _check_ids(window, seen)
        update_digest(hasher, window)
        encoded = _encode(backend, window, token_rows)
        _check_embedded(backend, window, encoded, vocab_size)
        has_tokens = np.array(
            [
                bool(ids) and bool(text.text.strip())
                for text, ids in zip(window, encoded.ids)
            ],
            bool,
        )
        if not has_tokens.all():
            if on_empty == "error":
                text = window[int(np.argmin(has_tokens))]
                raise CorpusError(
                    f"the text {text.id!r} is empty or gives no token: "
                    f"{text.text[:40]!r}. Remove it from the corpus, or pass "
                    "on_empty='skip' to leave such texts out and count them."
                )
            kept = np.flatnonzero(has_tokens)
            window = [window[row] for row in kept]
            ends = encoded.ends
            encoded = Encoded(
                [encoded.ids[row] for row in kept],
                encoded.truncated[kept],
                None if ends is None else [ends[row] for row in kept],
            )
        lengths = np.array([len(ids) for ids in encoded.ids], np.int64)
        tokens = int(lengths.sum())
        progress = Progress(
            windows=progress.windows + 1,
            texts_read=progress.texts_read + len(has_tokens),
            texts=progress.texts + len(window),
            rows=progress.rows + (tokens if token_rows else len(window)),
            tokens=progress.tokens + tokens,
            truncated=progress.truncated + int(encoded.truncated.sum()),
            empty=progress.empty + int((~has_tokens).sum()),
            digest=hasher.hexdigest(),
        )
        yield TextWindow(
            [text.id for text in window],
            [None if text.label is None else int(text.label) for text in window],
            encoded,
            lengths,
            progress,
        )


def _skip_known(
    stream: Iterator[Text],
    start: Progress,
    size: int,
    hasher: "hashlib._Hash",
    seen: set[str],
    store: str,
) -> None:
    left = start.texts_read
    while left:
        window = list(itertools.islice(stream, min(size, left)))
        if not window:
            break
        _check_ids(window, seen)
        update_digest(hasher, window)
        left -= len(window)
    if start.texts_read and (left or hasher.hexdigest() != start.digest):
        raise StoreError(
            f"{store} holds the first {start.texts_read} texts of another corpus: ids, "
            "texts or labels have changed since it was begun. Give another path, or "
            "delete that store."
        )


def _check_ids(window: list[Text], seen: set[str]) -> None:
    for text in window:
        if not isinstance(text.id, str) or not isinstance(text.text, str):
            raise CorpusError(
                f"a text must have an id and a text that are strings, got {text!r}."
            )
        if text.id in seen:
            raise CorpusError(
                f"the corpus holds the id {text.id!r} more than once; rows are joined "
                "by id, so ids must be unique."
            )
        seen.add(text.id)


def _encode(backend: Tokenizer, window: list[Text], with_ends: bool) -> Encoded:
    try:
        return encode_texts(
            backend, [text.text for text in window], with_ends=with_ends
        )
    except (TypeError, UnicodeError):
        for text in window:
            try:
                text.text.encode("utf-8")
            except UnicodeError as error:
                raise CorpusError(
                    f"the text {text.id!r} is not valid Unicode ({error}). Repair it."
                ) from error
        raise


def _check_embedded(
    backend: Tokenizer, window: list[Text], encoded: Encoded, vocab_size: int
) -> None:
    """Refuse ids beyond the embedding, which would be read as its last row."""
    for text, ids in zip(window, encoded.ids):
        largest = max(ids, default=0)
        if largest >= vocab_size:
            raise CorpusError(
                f"the text {text.id!r} holds {backend.id_to_token(largest)!r}, token "
                f"{largest} of a model that embeds {vocab_size}. Remove it from the "
                "text."
            )


def update_digest(hasher: Any, texts: Sequence[Text]) -> None:
    """Feed ids, texts and labels to a hashlib object, however they are grouped."""
    for text in texts:
        for part in (text.id, text.text, repr(text.label)):
            encoded = part.encode("utf-8", "surrogatepass")
            hasher.update(len(encoded).to_bytes(8, "little") + encoded)
