"""Answers that several programs give, each in a sentence made of its numbers."""

from collections.abc import Mapping
from typing import Any

from experiments.shared.about import short_data
from helix_jax.reports import Quantity
from helix_jax.stats import Interval

HELD_OUT_PERPLEXITY = Quantity("perplexity of held-out text", 1, 1)
RECALL = Quantity("recall, %", 100, 1)
HEAD = (
    "Perplexity of held-out text of {data}: {{{start}_mapped}} by the mapped head, "
    "{{{start}_native_target}} by the target alone, {{{start}_mapped_shuffled}} by a "
    "map of shuffled pairs."
)

Numbers = Mapping[str, float | Interval]


def head_answer(numbers: Numbers, data: str) -> str:
    """What the mapped head is worth on some corpora; empty where it was not scored."""
    start = "generation/perplexity"
    if f"{start}_mapped_shuffled" not in numbers:
        return ""
    return HELD_OUT_PERPLEXITY.fill(
        HEAD.format(data=short_data(data), start=start), numbers
    )


def recall_answer(sentence: str, numbers: Numbers, config: Any, **names: object) -> str:
    """What a search finds among the first k; the second cutoff if there are two.

    Args:
      sentence: with {k} and those of `names`; a number's name stands in two braces.
      numbers: of the report.
      config: has `cutoffs`.
      **names: what else the sentence names.
    """
    k = config.cutoffs[min(1, len(config.cutoffs) - 1)]
    return RECALL.fill(sentence.format(k=k, **names), numbers)
