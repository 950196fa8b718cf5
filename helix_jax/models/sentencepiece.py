"""Sentencepiece model files (tokenizer.model) as fast tokenizers, without the library.

The file is a protobuf of pieces, scores and settings. BPE pieces are merged in the
order of their scores, so the merges that a fast tokenizer needs are all the ways to
split a piece in two, best score first. Spaces become U+2581, with one put before the
text if the file says so; a text begins with <s> if the file has one.

One difference from the library: a control symbol spelled out in a text is read as the
symbol, as in transformers, and text after a symbol gets a space before it, unless
`behind_symbols` is False.

Reference: google/sentencepiece, sentencepiece_model.proto; Sennrich et al. 2016, arXiv
1508.07909 (BPE); Kudo 2018, arXiv 1804.10959 (unigram).
"""

import struct
from pathlib import Path
from typing import NamedTuple

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
from helix_jax.models.protobuf import field_of, messages_of, read_fields
from helix_jax.paths import os_errors

SPACE = "\u2581"
_NORMAL, _UNKNOWN, _CONTROL, _USER = 1, 2, 3, 4
_UNIGRAM, _BPE = 1, 2


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
      behind_symbols: whether a space is also put before text that follows a symbol; if
        not, nor is one put before a text that begins with a space (legacy=False in
        transformers).

    Raises:
      CheckpointError: no such model, or one with unknown settings.
    """
    with os_errors(path, "be read", CheckpointError):
        data = path.read_bytes()
    try:
        pieces, settings = _read_model(data)
    except (IndexError, KeyError, TypeError, ValueError, struct.error) as error:
        raise CheckpointError(
            f"{path} is no sentencepiece model; give the tokenizer.model of a model's "
            "folder, or the folder."
        ) from error
    names = [name for name, _, _ in pieces]
    unknown = [name for name, _, kind in pieces if kind == _UNKNOWN]
    if settings.kind not in (_UNIGRAM, _BPE) or len(unknown) != 1 or settings.behind:
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
    model: models.Model
    if settings.kind == _BPE:
        scores = {name: score for name, score, kind in pieces if kind == _NORMAL}
        model = models.BPE(
            vocabulary,
            _merges(scores),
            unk_token=unknown[0],
            fuse_unk=True,
            byte_fallback=settings.fallback,
        )
    else:
        scored = [(name, score) for name, (_, score, _) in zip(names, pieces)]
        model = models.Unigram(scored, vocabulary[unknown[0]], settings.fallback)
    core = Tokenizer(model)
    dummy = settings.dummy if prefix is None else prefix
    core.normalizer = _normalizer(settings, dummy and behind_symbols)
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
    bos, eos, pad = (
        names[index] if index in control else None for index in settings.named
    )
    if begin and bos is not None:
        core.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A",
            pair=f"{bos} $A {bos} $B",
            special_tokens=[(bos, vocabulary[bos])],
        )
    return SentencePiece(core, unknown[0], bos, eos, pad)


class _Settings(NamedTuple):
    """The settings of a file.

    Attributes:
      kind: of the model, _UNIGRAM, _BPE or another.
      behind: whether spaces are put after words.
      fallback: whether unknown characters are spelled in bytes.
      named: ids of <s>, </s> and <pad>.
      table: compiled table of character replacements; empty for none.
      dummy: whether a space is put before a text.
      strip: whether white space is cleaned.
    """

    kind: int
    behind: bool
    fallback: bool
    named: tuple[int, int, int]
    table: bytes
    dummy: bool
    strip: bool


def _read_model(data: bytes) -> tuple[list[tuple[str, float, int]], _Settings]:
    """Name, score and kind of each piece, and the settings."""
    fields = list(read_fields(data))
    pieces = [_piece(message) for message in messages_of(fields, 1)]
    trainer, cleaner = (
        dict(read_fields(b"".join(messages_of(fields, number)))) for number in (2, 3)
    )
    return pieces, _Settings(
        kind=field_of(trainer, 3, _UNIGRAM),
        behind=bool(field_of(trainer, 24, 0)),
        fallback=bool(field_of(trainer, 35, 0)),
        named=(
            field_of(trainer, 41, 1),
            field_of(trainer, 42, 2),
            field_of(trainer, 43, -1),
        ),
        table=field_of(cleaner, 2, b""),
        dummy=bool(field_of(cleaner, 3, 1)),
        strip=bool(field_of(cleaner, 4, 1)),
    )


def _piece(message: bytes) -> tuple[str, float, int]:
    """Name, score and kind of one entry."""
    fields = list(read_fields(message))
    name, rest = messages_of(fields, 1)[-1], dict(fields)
    return name.decode(), field_of(rest, 2, 0.0), field_of(rest, 3, _NORMAL)


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


def _normalizer(settings: _Settings, dummy: bool) -> normalizers.Normalizer:
    steps: list[normalizers.Normalizer] = []
    if settings.table:
        steps.append(normalizers.Precompiled(settings.table))
    if settings.strip:
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    if dummy:
        steps.append(normalizers.Prepend(SPACE))
    return normalizers.Sequence([*steps, normalizers.Replace(" ", SPACE)])
