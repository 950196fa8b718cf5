"""Several writers continue the same prompts, batch by batch; speed is measured."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from helix_jax.generation.arms import Writer
from helix_jax.generation.prompt import Prompt
from helix_jax.types import Array


class Continued(NamedTuple):
    """A batch of prompts that were continued.

    Attributes:
      first: index of its first prompt.
      samples: one per prompt: id, prompt, the fields of `Generated` of the first
        writer, and the text of every other writer under its name.
      steps: tokens that the first writer wrote.
      seconds: that it took.
    """

    first: int
    samples: list[dict[str, Any]]
    steps: int
    seconds: float


def continue_prompts(
    writers: Mapping[str, Writer],
    prompts: Sequence[tuple[str, str]],
    *,
    rows: int,
    key: Array,
    first: int = 0,
    chat: bool = False,
    **settings: Any,
) -> Iterator[Continued]:
    """Let every writer continue the prompts; the first one is timed.

    Args:
      writers: name -> who writes, as from `arms_of`.
      prompts: (id, text).
      rows: prompts per batch.
      key: jax.random key; that of a batch depends only on its place.
      first: index of the prompt to begin with, a multiple of `rows`.
      chat: each prompt is a user's turn in a chat template.
      **settings: other arguments of `generate`.
    """
    names = list(writers)
    for start in range(first, len(prompts), rows):
        batch = prompts[start : start + rows]
        texts: list[Prompt] = [
            [{"role": "user", "content": text}] if chat else text for _, text in batch
        ]
        settings |= {"key": jax.random.fold_in(key, start), "chat": chat}
        began = time.perf_counter()
        written = writers[names[0]].write(texts, **settings)
        seconds = time.perf_counter() - began
        samples = [
            {"id": name, "prompt": text, **generated._asdict()}
            for (name, text), generated in zip(batch, written)
        ]
        for name in names[1:]:
            for sample, generated in zip(
                samples, writers[name].write(texts, **settings)
            ):
                sample[name] = generated.text
        steps = sum(generated.steps for generated in written)
        yield Continued(start, samples, steps, seconds)


def writing_numbers(
    samples: Sequence[Mapping[str, Any]], seconds: float
) -> dict[str, float]:
    """Speed, stops and corrections over all texts.

    Args:
      samples: of all batches.
      seconds: of all batches.
    """
    steps = sum(sample["steps"] for sample in samples)
    repairs = sum(sample["repairs"] for sample in samples)
    stopped = sum(sample["reason"].startswith("stop") for sample in samples)
    return {
        "generation/prompts": len(samples),
        "generation/written_tokens": steps,
        "generation/tokens_per_second": steps / seconds,
        "generation/repairs_per_token": repairs / steps,
        "generation/stopped_fraction": stopped / len(samples),
    }
