"""Sentencepiece model files (tokenizer.model) as fast tokenizers, without the library.

The file is a protobuf of pieces, scores and settings. BPE pieces are merged in the
order of their scores, so the merges that a fast tokenizer wants are all the ways to
split a piece in two, best score first. Spaces become U+2581, with one put before the
text if the file says so; a text begins with <s> if the file has one.

One difference from the library: a control symbol spelled out in a text is read as the
symbol, as in transformers, and text after a symbol gets a space before it, unless
`behind_symbols` is False.

Reference: google/sentencepiece, sentencepiece_model.proto; Sennrich et al. 2016, arXiv
1508.07909 (BPE); Kudo 2018, arXiv 1804.10959 (unigram).
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from helix_jax.errors import CheckpointError
from helix_jax.paths import os_errors

SPACE = "\u2581"
_NORMAL, _UNKNOWN, _CONTROL, _USER = 1, 2, 3, 4
_UNIGRAM, _BPE = 1, 2
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5  # wire types of protobuf


class SentencePiece(NamedTuple):
    """A tokenizer and the names of its special pieces, None for missing ones."""

    tokenizer: Tokenizer
    unk_token: str
    bos_token: str | None
    eos_token: str | None
    pad_token: str | None


def read_sentencepiece(
    path: Path,
    *,
    begin: bool = True,
    prefix: bool | None = None,
    behind_symbols: bool = True,
) -> SentencePiece:
    """Read a sentencepiece model of type BPE or unigram.

    Args:
      path: the file.
      begin: whether texts begin with <s>, if it exists.
      prefix: whether a space is put before a text; None: as in the file.
      behind_symbols: whether also before text after a symbol; if not, a text that
        begins with a space gets none either (transformers with legacy=False).

    Raises:
      CheckpointError: no such model, or one with unknown settings.
    """
    with os_errors(path, "be read", CheckpointError):
        data = path.read_bytes()
    try:
        fields = list(_fields(data))
        pieces = [_piece(value) for number, value in fields if number == 1]
        trainer = dict(_fields(b"".join(v for number, v in fields if number == 2)))
        cleaner = dict(_fields(b"".join(v for number, v in fields if number == 3)))
    except (IndexError, KeyError, TypeError, ValueError, struct.error) as error:
        raise CheckpointError(
            f"{path} is no sentencepiece model; expected the tokenizer.model of a "
            "model's folder, or name the folder."
        ) from error
    names = [name for name, _, _ in pieces]
    kind = trainer.get(3, _UNIGRAM)
    unknown = [name for name, _, kind in pieces if kind == _UNKNOWN]
    if kind not in (_UNIGRAM, _BPE) or len(unknown) != 1 or trainer.get(24, 0):
        raise CheckpointError(
            f"{path} is not a sentencepiece model of type BPE or unigram with one "
            "unknown piece and spaces before words; convert it to a tokenizer.json."
        )
    # Symbols are searched for in the unchanged text, with its spaces.
    names = [
        name.replace(SPACE, " ") if kind == _USER else name
        for name, (_, _, kind) in zip(names, pieces)
    ]
    vocabulary = {name: index for index, name in enumerate(names)}
    fallback = bool(trainer.get(35, 0))
    if kind == _BPE:
        scores = {name: score for name, score, kind in pieces if kind == _NORMAL}
        model = models.BPE(
            vocabulary,
            _merges(scores),
            unk_token=unknown[0],
            fuse_unk=True,
            byte_fallback=fallback,
        )
    else:
        scored = [(name, score) for name, (_, score, _) in zip(names, pieces)]
        model = models.Unigram(scored, vocabulary[unknown[0]], fallback)
    core = Tokenizer(model)
    dummy = bool(cleaner.get(3, 1)) if prefix is None else prefix
    core.normalizer = _normalizer(cleaner, dummy and behind_symbols)
    if dummy and not behind_symbols:
        core.pre_tokenizer = pre_tokenizers.Metaspace(
            SPACE, prepend_scheme="first", split=False
        )
    strip = [decoders.Strip(" ", 1, 0)] if dummy else []
    core.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    for special, kinds in ((True, (_UNKNOWN, _CONTROL)), (False, (_USER,))):
        core.add_tokens(
            [
                AddedToken(name, special=special, normalized=False)
                for name, (_, _, kind) in zip(names, pieces)
                if kind in kinds
            ]
        )
    control = {index for index, piece in enumerate(pieces) if piece[2] == _CONTROL}
    named = [trainer.get(field, default) for field, default in _NAMED]
    bos, eos, pad = (names[index] if index in control else None for index in named)
    if begin and bos is not None:
        core.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A",
            pair=f"{bos} $A {bos} $B",
            special_tokens=[(bos, vocabulary[bos])],
        )
    return SentencePiece(core, unknown[0], bos, eos, pad)


_NAMED = ((41, 1), (42, 2), (43, -1))  # ids of <s>, </s> and <pad> and their defaults


def _piece(message: bytes) -> tuple[str, float, int]:
    """Name, score and kind of one entry."""
    fields: dict[int, Any] = dict(_fields(message))
    return fields[1].decode(), fields.get(2, 0.0), fields.get(3, _NORMAL)


def _merges(scores: dict[str, float]) -> list[tuple[str, str]]:
    """Every split of every piece into two pieces, best score first."""
    splits = [
        (score, place, name)
        for name, score in scores.items()
        for place in range(1, len(name))
        if name[:place] in scores and name[place:] in scores
    ]
    splits.sort(key=lambda split: split[:2], reverse=True)
    return [(name[:place], name[place:]) for _, place, name in splits]


def _normalizer(cleaner: dict[int, bytes | int], dummy: bool) -> normalizers.Normalizer:
    steps = []
    if cleaner.get(2):
        steps.append(normalizers.Precompiled(cleaner[2]))
    if cleaner.get(4, 1):
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    if dummy:
        steps.append(normalizers.Prepend(SPACE))
    return normalizers.Sequence([*steps, normalizers.Replace(" ", SPACE)])


def _fields(message: bytes) -> Iterator[tuple[int, bytes | int | float]]:
    """The fields of a protobuf message: (number, value)."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, place = _varint(message, place)
            yield number, value - (1 << 64) if value >> 63 else value
            continue
        size = {_EIGHT: 8, _FOUR: 4}.get(wire)
        if wire == _BYTES:
            size, place = _varint(message, place)
        if size is None or place + size > len(message):
            raise ValueError("not a protobuf message")
        chunk, place = message[place : place + size], place + size
        yield number, struct.unpack("<f", chunk)[0] if wire == _FOUR else chunk


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
