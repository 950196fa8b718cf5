"""Multiple-choice questions answered by likelihood, for any stitch or native model.

    letter   the likeliest of " A", " B", .. after the question and its lettered choices
    text     the likeliest choice after the question alone, in nats per character

Likelihoods come from `continuation_nats`.

Reference: Hendrycks et al. 2021 (MMLU), arXiv 2009.03300, section 4; likelihood of the
  choice by its length: Brown et al. 2020, arXiv 2005.14165, section 2.4.
"""

import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from helix_jax.errors import CorpusError
from helix_jax.generation.arms import Writer
from helix_jax.generation.likelihood import continuation_nats
from helix_jax.generation.stitch import Stitch
from helix_jax.paths import local_path
from helix_jax.progress import bar
from helix_jax.stats import Interval, bootstrap_interval
from helix_jax.textfile import parse_json, read_lines

LETTERS = "ABCDEFGHIJ"
MODES = ("letter", "text")


class Question(NamedTuple):
    """A question.

    Attributes:
      question: its text.
      choices: two to ten.
      answer: index of the right one.
    """

    question: str
    choices: tuple[str, ...]
    answer: int


def read_questions(path: str | os.PathLike) -> list[Question]:
    """Questions of a JSONL file, each line {"question", "choices", "answer"}.

    The answer is an index or a letter, as in MMLU's files. Empty lines are skipped.

    Raises:
      CorpusError: the file is unreadable or has no question; or names the line that is
        not a valid question.
    """
    path, questions = local_path(path, "the file of questions"), []
    for number, line in enumerate(read_lines(path, raises=CorpusError), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        row = parse_json(line, where, raises=CorpusError)
        if not isinstance(row, dict) or not row.keys() >= set(Question._fields):
            raise CorpusError(
                f"{where}: needs question, choices and answer, got {line.strip():.80}"
            )
        choices, answer = row["choices"], row["answer"]
        if isinstance(answer, str) and len(answer) == 1 and answer in LETTERS:
            answer = LETTERS.index(answer)
        choices = tuple(choices) if isinstance(choices, list) else choices
        question = Question(row["question"], choices, answer)
        if (fault := _fault(question)) is not None:
            raise CorpusError(f"{where}: {fault}.")
        questions.append(question)
    if not questions:
        raise CorpusError(f"{path} has no question; expected one a line, as JSON.")
    return questions


def _fault(asked: Question) -> str | None:
    """What is wrong with a question, and what was expected; None if it is valid."""
    question, choices, answer = asked
    if not isinstance(question, str):
        return f"question must be a string, got {question!r}"
    if not isinstance(choices, tuple) or not all(isinstance(c, str) for c in choices):
        return f"choices must be a list of strings, got {choices!r}"
    if not 2 <= len(choices) <= len(LETTERS):
        return f"needs 2 to {len(LETTERS)} choices, got {len(choices)}"
    if "" in choices:
        return f"choice {choices.index('')} is empty"
    if len(set(choices)) < len(choices):
        return f"two choices are the same text: {max(choices, key=choices.count)!r}"
    if type(answer) is not int or not 0 <= answer < len(choices):
        return (
            f"answer must be the place of the right choice, 0 to {len(choices) - 1}, "
            f"or its letter, {LETTERS[0]} to {LETTERS[len(choices) - 1]}, got "
            f"{answer!r}"
        )
    return None


def letter_prompt(question: Question) -> str:
    """The question with its lettered choices, up to "Answer:"."""
    choices = (f"{letter}. {text}" for letter, text in zip(LETTERS, question.choices))
    return "\n".join((question.question, *choices, "Answer:"))


def answer_questions(
    parts: Stitch,
    source_tokenizer: Any,
    target_tokenizer: Any,
    questions: Sequence[Question],
    *,
    mode: str = "letter",
) -> np.ndarray:
    """The choice that is taken for each question.

    Args:
      parts: a stitch, or `native(model)` with the model's tokenizer twice.
      source_tokenizer, target_tokenizer: of its two models.
      questions: M questions.
      mode: "letter" or "text".

    Returns:
      [M] int, the index of the choice.

    Raises:
      ValueError: the mode is unknown, or a question is not valid.
    """
    if mode not in MODES:
        raise ValueError(f'answer_questions: mode must be "letter" or "text": {mode!r}')
    for number, question in enumerate(questions):
        if (fault := _fault(question)) is not None:
            raise ValueError(f"answer_questions: question {number}: {fault}.")
    prompts, endings = [], []
    for question in questions:
        prompt, choices = question.question, question.choices
        if mode == "letter":
            prompt, choices = letter_prompt(question), tuple(LETTERS[: len(choices)])
        prompts += [prompt] * len(choices)
        endings += [f" {choice}" for choice in choices]
    nats, _ = continuation_nats(
        parts, source_tokenizer, target_tokenizer, prompts, endings
    )
    if mode == "text":
        nats = nats / [len(ending) for ending in endings]
    ends = np.cumsum([len(question.choices) for question in questions])[:-1]
    return np.array([int(np.argmin(part)) for part in np.split(nats, ends)])


def score_choices(
    writers: Mapping[str, Writer], questions: Sequence[Question], *, resamples: int
) -> dict[str, float | Interval]:
    """Accuracy of every writer in both modes.

    Args:
      writers: name -> who answers, as from `arms_of`.
      questions: M questions.
      resamples: of the bootstrap over questions.

    Returns:
      Intervals choices/letter_accuracy and choices/text_accuracy, followed by _NAME for
      every writer but "text"; choices/chance and choices/questions.
    """
    numbers: dict[str, float | Interval] = {"choices/questions": len(questions)}
    for name, mode in bar(
        list(itertools.product(writers, MODES)), "questions answered"
    ):
        arm = writers[name]
        tokenizers = arm.source_tokenizer, arm.target_tokenizer
        chosen = answer_questions(arm.parts, *tokenizers, questions, mode=mode)
        name = f"{mode}_accuracy" + ("" if name == "text" else f"_{name}")
        numbers |= choice_scores(chosen, questions, name=name, resamples=resamples)
    return numbers


def choice_scores(
    chosen: np.ndarray,
    questions: Sequence[Question],
    *,
    name: str = "accuracy",
    documents: Sequence[str] | None = None,
    resamples: int = 2000,
) -> dict[str, float | Interval]:
    """Accuracy with its interval, and the accuracy of guessing.

    Args:
      chosen: [M] int, from `answer_questions`.
      questions: the same M.
      name: of the measure.
      documents: [M] units of the bootstrap; None: each question is one.
      resamples: of the bootstrap.

    Returns:
      choices/NAME, an Interval, and choices/chance.
    """
    right = np.array([question.answer for question in questions]) == chosen
    units = np.arange(len(right)) if documents is None else documents
    chance = np.mean([1 / len(question.choices) for question in questions])
    return {
        f"choices/{name}": bootstrap_interval(right, units, resamples=resamples),
        "choices/chance": float(chance),
    }
