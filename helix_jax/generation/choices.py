"""Multiple-choice questions answered by likelihood, for any stitch or native model.

    letter   the likeliest of " A", " B", .. behind question and lettered choices
    text     the likeliest choice behind the bare question, in nats a character

The source reads prompt and choice; the target's head is asked for each of its own
tokens from the last source token that ends where that token begins, or before. So no
state has seen what it predicts, whatever the tokenizers.

Reference: Hendrycks et al. 2021 (MMLU), arXiv 2009.03300, section 4; likelihood of the
  choice by its length: Brown et al. 2020, arXiv 2005.14165, section 2.4.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from helix_jax.activations.token_states import text_starts, token_states
from helix_jax.activations.tokens import encode_texts, private_tokenizer
from helix_jax.errors import CorpusError
from helix_jax.generation.heads import ArmStates, Head, head_of
from helix_jax.generation.metrics import ENTRIES_AT_ONCE, negative_log_p
from helix_jax.generation.stitch import Stitch
from helix_jax.stats import bootstrap_interval
from helix_jax.types import Array

LETTERS = "ABCDEFGHIJ"
UNBOUNDED = 1 << 20


class Question(NamedTuple):
    """A question.

    Attributes:
      question: its text.
      choices: two to ten.
      answer: place of the right one.
    """

    question: str
    choices: tuple[str, ...]
    answer: int


def read_questions(path: str | os.PathLike) -> list[Question]:
    """Questions of a JSONL file: {"question", "choices", "answer"} a line.

    The answer is a place or a letter, as MMLU's files have it.

    Raises:
      CorpusError: a line that is no question, by its number.
    """
    found = []
    for number, line in enumerate(Path(path).read_text().splitlines(), start=1):
        try:
            row = json.loads(line)
            answer = row["answer"]
            place = LETTERS.index(answer) if isinstance(answer, str) else int(answer)
            found.append(Question(row["question"], tuple(row["choices"]), place))
        except (ValueError, KeyError, TypeError) as error:
            raise CorpusError(
                f"{path}, line {number}: needs question, choices and answer ({error})."
            ) from error
    return found


def letter_prompt(question: Question) -> str:
    """The question with its lettered choices, up to "Answer:"."""
    choices = (f"{LETTERS[i]}. {own}" for i, own in enumerate(question.choices))
    return "\n".join((question.question, *choices, "Answer:"))


def answer_questions(
    parts: Stitch,
    source_tokenizer: Any,
    target_tokenizer: Any,
    questions: Sequence[Question],
    *,
    mode: str = "letter",
) -> np.ndarray:
    """The choice of each question.

    Args:
      parts: a stitch, or `native(model)` with the model's tokenizer twice.
      source_tokenizer, target_tokenizer: of its two models.
      questions: M questions.
      mode: "letter" or "text".

    Returns:
      [M] int, the chosen place.

    Raises:
      ValueError: another mode, or a question whose answer is none of its choices.
    """
    if mode not in ("letter", "text"):
        raise ValueError(f'answer_questions: mode must be "letter" or "text": {mode!r}')
    for one in questions:
        if not (2 <= len(one.choices) <= 10 and 0 <= one.answer < len(one.choices)):
            raise ValueError(
                f"answer_questions: needs 2 to 10 choices and the place of the right "
                f"one among them, got {one}."
            )
    prompts, endings = [], []
    for one in questions:
        letters = LETTERS[: len(one.choices)]
        prompt = letter_prompt(one) if mode == "letter" else one.question
        prompts += [prompt] * len(one.choices)
        endings += [f" {end}" for end in (letters if mode == "letter" else one.choices)]
    nats, _ = continuation_nats(
        parts, source_tokenizer, target_tokenizer, prompts, endings
    )
    if mode == "text":
        nats = nats / [len(ending) for ending in endings]
    ends = np.cumsum([len(one.choices) for one in questions])[:-1]
    return np.array([int(np.argmin(part)) for part in np.split(nats, ends)])


def choice_scores(
    chosen: np.ndarray,
    questions: Sequence[Question],
    *,
    name: str = "accuracy",
    documents: Sequence[str] | None = None,
    resamples: int = 2000,
) -> dict[str, float]:
    """Accuracy with its interval, and that of chance.

    Args:
      chosen: [M] int, from `answer_questions`.
      questions: the same M.
      name: of the measure.
      documents: [M] what is resampled; None for every question by itself.
      resamples: of the bootstrap.

    Returns:
      choices/NAME with _low and _high, and choices/chance.
    """
    right = np.array([one.answer for one in questions]) == chosen
    documents = np.arange(len(right)) if documents is None else documents
    interval = bootstrap_interval(right, documents, resamples=resamples)
    ends = zip(("", "_low", "_high"), interval)
    found = {f"choices/{name}{end}": float(value) for end, value in ends}
    chance = np.mean([1 / len(one.choices) for one in questions])
    return found | {"choices/chance": float(chance)}


def continuation_nats(
    parts: Stitch,
    source_tokenizer: Any,
    target_tokenizer: Any,
    prompts: Sequence[str],
    endings: Sequence[str],
) -> tuple[np.ndarray, np.ndarray]:
    """-log p of each ending behind its prompt, in the target's tokens.

    Args:
      parts, source_tokenizer, target_tokenizer: as for `answer_questions`.
      prompts, endings: N strings each. A prompt that is too long loses its beginning.

    Returns:
      [N] float64, nats; [N] bool, whether every token of the ending is the likeliest.
    """
    texts = [prompt + ending for prompt, ending in zip(prompts, endings)]
    x, y = (
        encode_texts(
            private_tokenizer(own, max_tokens=UNBOUNDED), texts, with_ends=True
        )
        for own in (source_tokenizer, target_tokenizer)
    )
    room = min(part.spec.max_tokens for part in (parts.source, parts.target))
    ids, ends = zip(*(_last(*own, room) for own in zip(x.ids, x.ends)))
    states = token_states(ArmStates(parts, (parts.map,)), ids, 4096)[0]
    starts = text_starts(ids)
    rows, labels, owners = [], [], []
    for number, prompt in enumerate(prompts):
        own_ends = np.maximum.accumulate(np.maximum(y.ends[number], 0))
        begins = np.append(0, own_ends[:-1])
        asked = np.flatnonzero(own_ends > len(prompt))
        read = np.maximum.accumulate(np.maximum(ends[number], 0))
        place = np.searchsorted(read, begins[asked], side="right") - 1
        rows.append(starts[number] + np.maximum(place, 0))
        labels.append(np.asarray(y.ids[number])[asked])
        owners.append(np.full(len(asked), number))
    rows, labels, owners = (np.concatenate(part) for part in (rows, labels, owners))
    head, found = head_of(parts.target), []
    at_once = max(1, ENTRIES_AT_ONCE // parts.target.spec.vocab_size)
    for first in range(0, len(rows), at_once):
        part = slice(first, first + at_once)
        short = at_once - len(rows[part])
        padded = (np.pad(own[part], (0, short)) for own in (rows, labels))
        taken, following = padded
        scored = _scored(head, states[taken], following)
        found.append([np.asarray(one)[: at_once - short] for one in scored])
    nats, first = (np.concatenate(one) for one in zip(*found))
    misses = np.bincount(owners, ~first, len(prompts))
    return np.bincount(owners, nats, len(prompts)), misses == 0


def _last(ids: list[int], ends: np.ndarray, room: int) -> tuple[list[int], np.ndarray]:
    """The last `room` tokens, with the special tokens in front kept."""
    if len(ids) <= room:
        return ids, ends
    front = int(np.argmax(ends >= 0))
    cut = len(ids) - room + front
    return ids[:front] + ids[cut:], np.append(ends[:front], ends[cut:])


@jax.jit
def _scored(head: Head, states: Array, following: Array) -> tuple[Array, Array]:
    """-log p of the following tokens, and whether they are the likeliest."""
    logits = head(states)
    return negative_log_p(logits, following), logits.argmax(-1) == following
