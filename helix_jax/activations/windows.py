"""The corpus in windows: read, checked and tokenised on the host."""

import hashlib
import itertools
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from helix_jax.activations.window_texts import Counts
from helix_jax.errors import CorpusError, StoreError
from helix_jax.text.tokens import Encoded, encode_texts
from helix_jax.types import Text


class TextWindow(NamedTuple):
    """Some consecutive texts.

    Attributes:
      number: of the window, from 0.
      first_row: its first row in the store.
      ids, labels: of the texts that have tokens; a label is an int or None.
      encoded: their tokens; None for a window that is not computed here.
      lengths: [n] int, tokens of each.
      counts: of this window; only what is known if it is not computed here.
    """

    number: int
    first_row: int
    ids: list[str]
    labels: list[int | None]
    encoded: Encoded | None
    lengths: np.ndarray
    counts: Counts


def read_windows(
    texts: Iterable[Text],
    backend: Tokenizer,
    *,
    size: int,
    done: Mapping[int, Counts],
    vocab_size: int,
    own: Callable[[int], bool],
    token_rows: bool = False,
    on_empty: str = "error",
    store: str = "the store",
) -> Iterator[TextWindow]:
    """All windows of `size` texts; those of this process are tokenised.

    Args:
      texts: the corpus from its beginning.
      backend: from `private_tokenizer`.
      size: texts per window.
      done: what the store already holds, by number of the window.
      own: whether a window is computed here; called once for each, in order; from
        `deal_windows`.
      vocab_size: V, rows of the model's embedding.
      token_rows: whether a row is a token, not a text.
      on_empty: "error", or "skip" to leave out texts without tokens and count them.
      store: its name, for messages.

    Raises:
      CorpusError: a text is empty, is not text, repeats an id, or has a token without
        an embedding.
      StoreError: the store holds texts of another corpus.
    """
    stream = iter(texts)
    hasher = hashlib.sha256()
    seen: set[str] = set()
    first_row, number = 0, -1
    # Whether the number of rows of a window is known before its texts are tokenised.
    as_texts = not token_rows and on_empty == "error"
    for number in itertools.count():
        window = list(itertools.islice(stream, size))
        if not window:
            break
        _check_ids(window, seen)
        update_digest(hasher, window)
        nothing = TextWindow(
            number, first_row, [], [], None, np.zeros(0, int), Counts()
        )
        if number in done:
            _require_same(done[number], len(window), hasher.hexdigest(), number, store)
            ready = nothing._replace(counts=done[number])
        elif own(number):
            ready = nothing._replace(
                **_tokenised(window, backend, token_rows, on_empty, vocab_size)
            )
        elif as_texts:
            ready = nothing._replace(counts=Counts(rows=len(window)))
        else:
            other = _tokenised(window, backend, token_rows, "skip", vocab_size)
            ready = nothing._replace(counts=other["counts"])
        known = ready.counts._replace(texts_read=len(window), digest=hasher.hexdigest())
        yield ready._replace(counts=known)
        first_row += known.rows
    if any(other >= number for other in done):
        raise _other_corpus(store, number)


def deal_windows(
    done: Container[int], index: int, count: int, *, each: int = 1
) -> Callable[[int], bool]:
    """Whether a window belongs to share `index` of `count`; called for each in order.

    Missing windows are dealt in turn, so that shares do not overlap, leave no gap, and
    are even no matter how much is already done.

    Args:
      done: pieces that are not dealt.
      index: of the share.
      count: number of shares.
      each: windows of a piece; a piece belongs to one share.
    """
    turns, dealt = itertools.count(), {}

    def own(window: int) -> bool:
        piece = window // each
        if piece not in dealt:
            dealt[piece] = piece not in done and next(turns) % count == index
        return dealt[piece]

    return own


def ahead(
    source: Iterator[TextWindow], pool: ThreadPoolExecutor
) -> Iterator[TextWindow]:
    """The same windows; a thread prepares the next one meanwhile."""
    job = pool.submit(next, source, None)
    while (window := job.result()) is not None:
        job = pool.submit(next, source, None)
        yield window


def _tokenised(
    window: list[Text],
    backend: Tokenizer,
    token_rows: bool,
    on_empty: str,
    vocab_size: int,
) -> dict[str, Any]:
    """The fields of a window that follow from its tokens."""
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
    return {
        "ids": [text.id for text in window],
        "labels": [None if text.label is None else int(text.label) for text in window],
        "encoded": encoded,
        "lengths": lengths,
        "counts": Counts(
            texts=len(window),
            rows=tokens if token_rows else len(window),
            tokens=tokens,
            truncated=int(encoded.truncated.sum()),
            empty=int((~has_tokens).sum()),
        ),
    }


def _require_same(
    done: Counts, texts: int, digest: str, number: int, store: str
) -> None:
    """Raise if an existing window holds other texts."""
    if (done.texts_read, done.digest) != (texts, digest):
        raise _other_corpus(store, number)


def _other_corpus(store: str, number: int) -> StoreError:
    return StoreError(
        f"{store} holds texts of another corpus, from window {number} on: ids, texts "
        "or labels have changed since it was begun. Give another path, or delete that "
        "store."
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
    """Refuse ids outside the embedding, which would be read as its last row."""
    for text, ids in zip(window, encoded.ids):
        largest = max(ids, default=0)
        if largest >= vocab_size:
            raise CorpusError(
                f"the text {text.id!r} holds {backend.id_to_token(largest)!r}, token "
                f"{largest} of a model that embeds {vocab_size}. Remove it from the "
                "text."
            )


def update_digest(hasher: Any, texts: Sequence[Text]) -> None:
    """Feed ids, texts and labels to a hashlib object, independent of their grouping."""
    for text in texts:
        for part in (text.id, text.text, repr(text.label)):
            encoded = part.encode("utf-8", "surrogatepass")
            hasher.update(len(encoded).to_bytes(8, "little") + encoded)
