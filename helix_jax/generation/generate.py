"""Text from a stitch: its source reads, its target's head writes.

    parts = stitch(source, target, map)     # or native(model)
    generate(parts, source_tokenizer, target_tokenizer, ["Once upon a time"])

`reading` defines how the source reads what the target writes, `prompt` how prompts and
chats are read and where texts end, `sampling` how tokens are chosen.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np

from helix_jax import kinds
from helix_jax.arguments import takes
from helix_jax.generation.guesses import (
    Guesses,
    make_guesses,
    make_rules,
    native_guesses,
)
from helix_jax.generation.loop import Decoder, run_rows
from helix_jax.generation.prompt import Prompt, leading_tokens, read_prompt, stop_ids
from helix_jax.generation.reading import Reader, Reading, make_reader
from helix_jax.generation.rows import Row, bounds_of, check_lengths
from helix_jax.generation.sampling import Sampling
from helix_jax.generation.stitch import Stitch
from helix_jax.models import check_vocabulary
from helix_jax.text.tokens import tokenizer_fingerprint
from helix_jax.types import Array

GREEDY = Sampling()


class Generated(NamedTuple):
    """One text.

    Attributes:
      text: what was written after the prompt, without stop token and stop string.
      tokens: target tokens chosen, the stop token included.
      reason: "stop" (a stop token), "stop_string", "length" (max_new_tokens) or
        "context" (the context is full).
      steps: tokens chosen.
      repairs: how often the host took back source tokens that were fed on a wrong
        guess; guesses of a pair of tokenizers improve from run to run.
      source_tokens: tokens of prompt and text as the source reads them.
    """

    text: str
    tokens: list[int]
    reason: str
    steps: int
    repairs: int
    source_tokens: int


@takes(parts=kinds.STITCH, key=kinds.KEY)
def generate(
    parts: Stitch,
    source_tokenizer: Any,
    target_tokenizer: Any,
    prompts: Sequence[Prompt],
    *,
    max_new_tokens: int = 128,
    sampling: Sampling = GREEDY,
    key: Array | None = None,
    stop_tokens: Sequence[int | str] = (),
    stop_strings: Sequence[str] = (),
    chat: bool = False,
    special_tokens: bool = False,
    on_text: Callable[[int, str], None] | None = None,
) -> list[Generated]:
    """Continue each prompt.

    With a map the source reads the text of prompt and answer, encoded anew after each
    token. A native model reads the tokens that it chose, as `transformers` does.
    Special tokens of the target that do not stop a text are never chosen.

    Args:
      parts: `stitch(source, target, map)` or `native(model)`.
      source_tokenizer, target_tokenizer: of the two models; the same one for `native`.
      prompts: one batch of texts, or with `chat` of lists of {"role", "content"}.
      max_new_tokens: target tokens for each.
      sampling: greedy by default.
      key: PRNG key; needed unless greedy.
      stop_tokens: ids or spellings of the target, besides those of `prompt.stop_ids`;
        `declared_stops(model.folder)` are those of a generation_config.json.
      stop_strings: a text ends before the first that appears in it.
      chat: render the prompts with the source's chat template; stop at the target's
        end of turn.
      special_tokens: read spellings of special tokens in prompts as these tokens.
      on_text: called with a prompt's number and each new piece of its text.

    Returns:
      Generated for each prompt.

    Raises:
      ValueError: a prompt cannot be read or fills the context, a setting is out of
        range, a stop token does not exist, or a native model is given two tokenizers.
      CheckpointError: a tokenizer does not belong to its model.
    """
    key = _check_settings(prompts, max_new_tokens, sampling, key, stop_strings)
    native = parts.map is None
    if native and target_tokenizer is not source_tokenizer:
        prints = map(tokenizer_fingerprint, (source_tokenizer, target_tokenizer))
        if len(set(prints)) > 1:
            raise ValueError(
                "generate: a native model has one tokenizer, got two different ones."
            )
    vocabulary = parts.target.spec.vocab_size
    tokenizers = source_tokenizer, target_tokenizer
    sizes = parts.source.spec.vocab_size, vocabulary
    reader, guesses = reader_tables(*tokenizers, sizes, native=native)
    rows = []
    for number, prompt in enumerate(prompts):
        reading = read_prompt(
            reader,
            source_tokenizer,
            prompt,
            chat=chat,
            special_tokens=special_tokens,
            where=f"prompt {number}",
        )
        seen = reading.ids
        if not native and sampling.repetition_penalty != 1:
            seen = _as_target(target_tokenizer, reading)
        rows.append(Row(reading, prompt=seen, begin=len(reading.text)))
    bounds = bounds_of(parts, max_new_tokens, stop_strings)
    check_lengths(rows, bounds)
    stops = stop_ids(
        source_tokenizer, target_tokenizer, vocabulary, extra=stop_tokens, chat=chat
    )
    rules = make_rules(guesses, stops=stops)
    decoder = Decoder(parts, reader, guesses, rules, bounds, sampling, key, on_text)
    run_rows(decoder, rows)
    return [generated_from(row) for row in rows]


def generate_ids(
    parts: Stitch,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int = 128,
    sampling: Sampling = GREEDY,
    key: Array | None = None,
    stop_tokens: Sequence[int] = (),
    suppressed: Sequence[int] = (),
) -> list[Generated]:
    """Continue token ids with token ids, without any text.

    The source reads the ids that the head chooses, so both must share a vocabulary: use
    it for native models and for stitches of models with the same tokenizer.

    Args:
      parts, max_new_tokens, sampling, key: as in `generate`.
      prompts: ids, special tokens included.
      stop_tokens, suppressed: ids that end a text; ids never chosen.

    Returns:
      Generated for each prompt, without text.

    Raises:
      ValueError: as `generate`; an id is outside the vocabulary; the two vocabularies
        differ in size.
    """
    key = _check_settings(prompts, max_new_tokens, sampling, key, ())
    sizes = [part.spec.vocab_size for part in (parts.source, parts.target)]
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"generate_ids: the source has {sizes[0]} tokens and the target "
            f"{sizes[1]}; use generate with their tokenizers."
        )
    given = {"stop_tokens": stop_tokens, "suppressed": suppressed}
    given |= {f"prompt {number}": ids for number, ids in enumerate(prompts)}
    for name, ids in given.items():
        if any(not 0 <= index < sizes[1] for index in ids):
            raise ValueError(f"generate_ids: {name} must hold ids below {sizes[1]}.")
    reader = Reader((), (), _no_text, _no_text, np.zeros(0), splits=None, native=True)
    rows = [
        Row(Reading(list(ids), tuple(ids), False, "", b"", 0, len(ids)), prompt=ids)
        for ids in prompts
    ]
    bounds = bounds_of(parts, max_new_tokens)
    check_lengths(rows, bounds)
    guesses = native_guesses(sizes[1])
    rules = make_rules(guesses, stops=stop_tokens, suppressed=suppressed)
    run_rows(Decoder(parts, reader, guesses, rules, bounds, sampling, key), rows)
    return [generated_from(row) for row in rows]


@lru_cache(maxsize=8)
def reader_tables(
    source: Any, target: Any, sizes: tuple[int, int], *, native: bool
) -> tuple[Reader, Guesses]:
    """The reader and guesses of two tokenizers, cached: later changes go unnoticed.

    Args:
      source, target: fast tokenizers.
      sizes: rows of the two models' embedding tables.
      native: the two are one model.

    Raises:
      CheckpointError: a tokenizer does not belong to its model.
    """
    for side, tokenizer, size in zip(("source", "target"), (source, target), sizes):
        check_vocabulary(tokenizer, size, model=side)
    reader = make_reader(source, target, native=native)
    return reader, make_guesses(reader, sizes[1])


def _check_settings(
    prompts: Sequence[Prompt] | Sequence[Sequence[int]],
    max_new_tokens: int,
    sampling: Sampling,
    key: Array | None,
    stop_strings: Sequence[str],
) -> Array:
    """The key, or an arbitrary one for greedy decoding; raises ValueError."""
    if isinstance(prompts, str):
        raise ValueError(
            f"generate: prompts must be a list of prompts, got {prompts[:40]!r}: use "
            "[prompts]."
        )
    if not len(prompts):
        raise ValueError("generate: prompts must be a list with one prompt or more.")
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens must be 1 or more, got {max_new_tokens}.")
    if isinstance(stop_strings, str) or not all(stop_strings):
        raise ValueError("stop_strings must be a list of strings that are not empty.")
    if key is None and sampling.temperature > 0:
        raise ValueError("sampling at a temperature needs a key: jax.random.key(seed).")
    return jax.random.key(0) if key is None else key


def _as_target(tokenizer: Any, reading: Reading) -> list[int]:
    """The prompt's text in the target's tokens, for the repetition penalty."""
    ids = tokenizer(reading.text, add_special_tokens=False)["input_ids"]
    return [*leading_tokens(tokenizer), *ids]


def _no_text(_: str) -> tuple[int, ...]:
    """The tokens of the texts of `generate_ids`, which are all empty."""
    return ()


def generated_from(row: Row) -> Generated:
    """The result of a finished row.

    Raises:
      ValueError: it is not finished.
    """
    if row.answer is None or row.reason is None:
        raise ValueError("generated_from: this text has not ended; decode on.")
    return Generated(
        row.answer,
        row.tokens,
        row.reason,
        len(row.tokens),
        row.repairs,
        len(row.reading.ids),
    )
