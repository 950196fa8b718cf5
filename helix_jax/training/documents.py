"""Documents of a corpus as windows of tokens, for training and for evaluation."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from helix_jax.text.hashing import document_of, part_of
from helix_jax.training.packing import pack_documents

_AT_ONCE = 1024  # texts


def read_documents(
    corpus: Any, split: str, *, part: int = 0, parts: int = 1
) -> Iterator[str]:
    """Texts of a split; of "fit", which is divided by document, one part.

    Args:
      corpus: a Corpus, or a view of one.
      split: "fit", "select" or "test".
      part: which of the parts to train on, from 0.
      parts: how many there are.
    """
    for text in corpus.read(split):
        part_of_text = part_of(document_of(text.id), parts, salt="part")
        if split != "fit" or part_of_text == part:
            yield text.text


def encode_documents(tokenizer: Any, texts: Iterable[str]) -> list[list[int]]:
    """Token ids of whole texts, special tokens included.

    Args:
      tokenizer: a transformers tokenizer.
      texts: any iterable; 1,024 are encoded at a time.
    """
    ids: list[list[int]] = []
    texts = iter(texts)
    while chunk := list(islice(texts, _AT_ONCE)):
        ids += tokenizer(chunk, truncation=False, verbose=False)["input_ids"]
    return ids


def held_out_windows(
    tokenizer: Any, texts: list[str], *, context: int, tokens: int
) -> tuple[np.ndarray, int]:
    """Windows of about `tokens` tokens, from texts taken in a fixed random order.

    Args:
      tokenizer: a transformers tokenizer.
      texts: held-out texts.
      context: T.
      tokens: no text is added once there are more than this.

    Returns:
      [N, T + 1] int32, and the number of characters of the predicted tokens.
    """
    documents: list[list[int]] = []
    total = 0
    for place in np.random.default_rng(0).permutation(len(texts)):
        documents += encode_documents(tokenizer, [texts[place]])
        total += len(documents[-1])
        if total > tokens:
            break
    windows = pack_documents(documents, context=context)
    predicted = tokenizer.batch_decode(
        windows[:, 1:], skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return windows, sum(map(len, predicted))
