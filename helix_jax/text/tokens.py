"""Texts to token ids, with truncated texts marked."""

import functools
import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from helix_jax.models.tokenizer_settings import make_post_processor


class Encoded(NamedTuple):
    """Token ids of some texts.

    Attributes:
      ids: token ids of each text, special tokens included, at most max_tokens.
      truncated: [n] bool, texts that lost tokens at their end.
      ends: for each text [tokens] int32, the character at which each token ends, -1
        for special tokens; None unless asked for.
    """

    ids: list[list[int]]
    truncated: np.ndarray
    ends: list[np.ndarray] | None

    @property
    def known_ends(self) -> list[np.ndarray]:
        """`ends`, if they were requested.

        Raises:
          ValueError: they were not requested.
        """
        if self.ends is None:
            raise ValueError(
                "Encoded: the ends of these tokens are not known; give encode_texts "
                "with_ends=True."
            )
        return self.ends


def private_tokenizer(tokenizer: Any, *, max_tokens: int) -> Tokenizer:
    """A copy of the tokenizer's Rust backend that truncates and does not pad.

    The copy leaves the caller's settings alone and skips the Python layer, which
    costs more than tokenising short texts. Its offsets span everything that a token
    covers, including white space at its ends, even if the tokenizer's own offsets
    leave that out (trim_offsets).

    Args:
      tokenizer: a transformers fast tokenizer.
      max_tokens: special tokens included.

    Raises:
      ValueError: a tokenizer without a backend, or no room for text beside its
        special tokens.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ValueError(
            f"{type(tokenizer).__name__} has no fast backend; load the tokenizer with "
            "load_tokenizer, or convert it to a tokenizer.json."
        )
    special = backend.num_special_tokens_to_add(is_pair=False)
    if max_tokens <= special:
        raise ValueError(
            f"max_tokens must exceed the tokenizer's {special} special tokens, got "
            f"{max_tokens}."
        )
    copy = copy_backend(backend)
    copy.enable_truncation(max_tokens)
    if copy.post_processor is not None:
        copy.post_processor = _untrimmed(copy.post_processor)
    return copy


def copy_backend(backend: Tokenizer) -> Tokenizer:
    """A tokenizer with the same ids and offsets that neither pads nor truncates.

    Changing the copy does not change the original. They share the vocabulary, which is
    never changed: writing and reading 262,144 entries would take a second.
    """
    copy = Tokenizer(backend.model)
    for part in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        if (own := getattr(backend, part)) is not None:
            setattr(copy, part, own)
    # In the order of their ids, after the normalizer: as a tokenizer.json is read.
    added = sorted(backend.get_added_tokens_decoder().items())
    copy.add_tokens([token for _, token in added])
    copy.encode_special_tokens = backend.encode_special_tokens  # not in the JSON
    return copy


def _untrimmed(post_processor: Any) -> Any:
    """The same post-processor, without trimming of offsets."""
    text = post_processor.__getstate__().decode()
    if '"trim_offsets":true' not in text:
        return post_processor
    record = json.loads(text)
    for step in [record, *record.get("processors", ())]:
        if "trim_offsets" in step:
            step["trim_offsets"] = False
    return make_post_processor(record)


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """16 hex digits of all that affects ids: the JSON without padding and truncation.

    Whether spellings of special tokens are encoded as plain text is not in the JSON; it
    is added if it is true.
    """
    backend = tokenizer.backend_tokenizer
    return _fingerprint_of(backend.to_str(), backend.encode_special_tokens)


@functools.lru_cache(maxsize=2)  # two sides; the JSON of a large one has 20 MB
def _fingerprint_of(text: str, encode_special_tokens: bool) -> str:
    record = json.loads(text)
    record["padding"] = record["truncation"] = None
    if encode_special_tokens:
        record["encode_special_tokens"] = True
    canonical = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def encode_texts(
    backend: Tokenizer, texts: Sequence[str], *, with_ends: bool = False
) -> Encoded:
    """Tokenise a batch of texts.

    Args:
      backend: from `private_tokenizer`.
      texts: the texts.
      with_ends: also find where each token ends in its text; slower.

    Returns:
      Encoded.
    """
    encode = backend.encode_batch if with_ends else backend.encode_batch_fast
    encodings = encode(list(texts))
    limit = backend.truncation["max_length"] if backend.truncation else None
    ids = [encoding.ids for encoding in encodings]
    truncated = np.array(
        [
            len(tokens) == limit and len(encoding.overflowing) > 0
            for tokens, encoding in zip(ids, encodings)
        ],
        bool,
    )
    ends = None
    if with_ends:
        ends = [
            np.where(
                np.array(encoding.special_tokens_mask, bool),
                -1,
                np.array(encoding.offsets, np.int32).reshape(-1, 2)[:, 1],
            ).astype(np.int32)
            for encoding in encodings
        ]
    return Encoded(ids, truncated, ends)
