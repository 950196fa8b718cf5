"""The bytes that each token of a vocabulary stands for in running text.

They are read from the JSON of a fast tokenizer's backend, never inferred from its name:
the steps of its decoder, applied to one token in the middle of a text, give the token's
bytes; its normalizer and pre-tokenizer tell whether a space is put before the first
word and what a text loses.

    byte level       each character is a byte of GPT-2's alphabet (gpt2, qwen, llama 3)
    sentencepiece    U+2581 is a space, <0xNN> a byte (llama, mistral, gemma, t5)
    WordPiece        a token without ## begins with a space (bert)
    no decoder       a token is its own characters

Reference: huggingface/tokenizers 0.23, decoders/; Radford et al. 2019 (the byte
alphabet). The record is ours.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

# Normalizers, and pre-tokenizers that drop text -> words for what is lost.
_LOSSES = {
    "NFC": "Unicode forms (NFC)",
    "NFD": "Unicode forms (NFD)",
    "NFKC": "Unicode forms (NFKC)",
    "NFKD": "Unicode forms (NFKD)",
    "Nmt": "Unicode forms (nmt)",
    "Precompiled": "Unicode forms (sentencepiece)",
    "Lowercase": "case",
    "StripAccents": "accents",
    "Strip": "white space at the ends",
    "BertNormalizer": "case, accents and control characters",
    "BertPreTokenizer": "white space",
    "Whitespace": "white space",
    "WhitespaceSplit": "white space",
    "CharDelimiterSplit": "delimiters",
}
_KEPT = {
    "Sequence",
    "Prepend",
    "Replace",
    "ByteLevel",
    "Metaspace",
    "Split",
    "Digits",
    "Punctuation",
    "UnicodeScripts",
    "FixedLength",
}
_BYTE = re.compile("<0x([0-9A-Fa-f]{2})>")
_UTF8 = [byte for byte in range(0xF5) if byte not in (0xC0, 0xC1)]  # the rest is unused


class TokenBytes(NamedTuple):
    """The bytes of a tokenizer's ids.

    The joined pieces of a text's tokens are the UTF-8 bytes of the text, preceded by
    one space if `dummy_space`, unless the text holds what `loses` names or the spelling
    of a special token. Sentencepiece tokenizers also read U+2581 as a space.

    Attributes:
      pieces: for each id its bytes; None for special tokens, the unknown token and ids
        that no token has. A piece may end inside a UTF-8 character.
      byte_ids: [256] int32, the id that stands for this byte alone, -1 if none does.
      dummy_space: the first word of a text gets a space that is not in the text.
      loses: what a text loses, in words; empty for a lossless tokenizer.
    """

    pieces: list[bytes | None]
    byte_ids: np.ndarray
    dummy_space: bool
    loses: tuple[str, ...]

    @property
    def lossless(self) -> bool:
        """Whether every text can be restored from its tokens."""
        return not self.loses


def token_bytes(tokenizer: Any) -> TokenBytes:
    """Read the bytes of every id of a tokenizer.

    Args:
      tokenizer: a transformers fast tokenizer, or a tokenizers.Tokenizer.

    Returns:
      TokenBytes.

    Raises:
      ValueError: no fast backend, or a decoder that this function does not know.
    """
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if not hasattr(backend, "to_str"):
        raise ValueError(
            f"token_bytes: {type(tokenizer).__name__} has no fast backend; load the "
            "tokenizer with load_tokenizer."
        )
    record = json.loads(backend.to_str())
    steps = list(_steps(record["decoder"]))
    before = [*_steps(record["normalizer"]), *_steps(record["pre_tokenizer"])]
    if not steps and any(step["type"] == "ByteLevel" for step in before):
        steps = [{"type": "ByteLevel"}]
    _check_steps(steps)
    added = {one["id"]: one for one in record["added_tokens"]}
    unknown = record["model"].get("unk_token")
    vocabulary = backend.get_vocab(with_added_tokens=True)
    pieces: list[bytes | None] = [None] * (1 + max(vocabulary.values(), default=-1))
    fallback = set()
    for token, index in vocabulary.items():
        if index in added:  # matched in the raw text, so it is its own bytes
            special = added[index]["special"]
            pieces[index] = None if special else added[index]["content"].encode()
        elif token != unknown:
            pieces[index] = _piece(token, steps)
            if len(pieces[index]) == 1 and _BYTE.fullmatch(token):
                fallback.add(index)
    if (index := record["model"].get("unk_id")) is not None:
        pieces[index] = None
    byte_ids = np.full(256, -1, np.int32)
    # The smallest id wins, and a token of the vocabulary before a fallback <0xNN>.
    for index in sorted(range(len(pieces)), key=lambda i: (i in fallback, i)):
        piece = pieces[index]
        if piece is not None and len(piece) == 1 and byte_ids[piece[0]] < 0:
            byte_ids[piece[0]] = index
    dummy_space, optional = _dummy_space(steps, before)
    loses = [loss for step in before if (loss := _loss(step)) is not None]
    if optional:
        loses.append("a space at the start")
    kept = [one for one in added.values() if not one["special"]]
    # Prepend also puts its space after every added token in a text.
    if (kept and _has(before, "Prepend")) or any(
        one["lstrip"] or one["rstrip"] for one in kept
    ):
        loses.append("white space beside added tokens")
    by_bytes = record["model"].get("byte_fallback") or _has(steps, "ByteLevel")
    if not by_bytes or (byte_ids[_UTF8] < 0).any():
        loses.append("characters outside the vocabulary")
    return TokenBytes(pieces, byte_ids, dummy_space, tuple(dict.fromkeys(loses)))


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's characters for the 256 bytes: printable ones are themselves."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {
        chr(256 + place): byte for place, byte in enumerate(hidden)
    }


_ALPHABET = _byte_alphabet()


def _steps(part: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """The steps of a normalizer, pre-tokenizer or decoder, with sequences flattened."""
    if part is None:
        return
    inner = [part.get(name) for name in ("decoders", "normalizers", "pretokenizers")]
    if part["type"] != "Sequence":
        yield part
    for step in next((steps for steps in inner if steps), []):
        yield from _steps(step)


def _has(steps: Sequence[dict[str, Any]], kind: str) -> bool:
    return any(step["type"] == kind for step in steps)


def _check_steps(steps: Sequence[dict[str, Any]]) -> None:
    """Refuse a decoder that does not act token by token, the first space aside."""
    kinds = [step["type"] for step in steps]
    for place, step in enumerate(steps):
        known = step["type"] in (
            "ByteLevel",
            "ByteFallback",
            "Fuse",
            "Metaspace",
            "WordPiece",
        )
        if step["type"] == "Replace":
            known = "String" in step["pattern"]
        if step["type"] == "Strip":  # of the whole text: the dummy space
            known = "Fuse" in kinds[:place] and step["content"] == " "
        if not known:
            raise ValueError(
                f"token_bytes: decoder step {json.dumps(step)} is not known; expected "
                "byte level, sentencepiece (Replace or Metaspace, ByteFallback, Fuse, "
                "Strip), WordPiece or none."
            )


def _piece(token: str, steps: Sequence[dict[str, Any]]) -> bytes:
    """The decoder's steps on one token in the middle of a text."""
    for step in steps:
        kind = step["type"]
        if kind == "ByteLevel":
            if _ALPHABET.keys() >= set(token):
                return bytes(map(_ALPHABET.__getitem__, token))
        elif kind == "ByteFallback":
            if match := _BYTE.fullmatch(token):
                return bytes([int(match[1], 16)])
        elif kind == "Replace":
            token = token.replace(step["pattern"]["String"], step["content"])
        elif kind == "Metaspace":
            token = token.replace(step["replacement"], " ")
        elif kind == "WordPiece":
            inside = token.startswith(step["prefix"]) and token != step["prefix"]
            token = token.removeprefix(step["prefix"]) if inside else f" {token}"
    return token.encode()


def _dummy_space(
    steps: Sequence[dict[str, Any]], before: Sequence[dict[str, Any]]
) -> tuple[bool, bool]:
    """Whether a text gets a leading space, and whether only if it has none."""
    if _has(steps, "WordPiece"):
        return True, False
    if any(step["type"] == "Prepend" for step in before):
        return True, False
    # Both of these check whether the text already begins with a space.
    optional = any(
        step.get("add_prefix_space", False)
        if step["type"] == "ByteLevel"
        else step["type"] == "Metaspace" and step["prepend_scheme"] != "never"
        for step in before
    )
    return optional, optional


def _loss(step: dict[str, Any]) -> str | None:
    kind = step["type"]
    if kind == "Replace" and (
        step["pattern"].get("String") != " " or step["content"] != "\u2581"
    ):
        return f"what Replace({json.dumps(step['pattern'])}) replaces"
    if kind == "Split" and step["behavior"] == "Removed":
        return "delimiters"
    if kind in _KEPT:
        return None
    return _LOSSES.get(kind, f"what {kind} changes")
