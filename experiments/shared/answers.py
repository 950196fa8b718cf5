"""Answers that several programs give, each a sentence made of the report's numbers."""

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
    """How well the mapped head does on held-out text; empty if it was not scored."""
    start = "generation/perplexity"
    if f"{start}_mapped_shuffled" not in numbers:
        return ""
    return HELD_OUT_PERPLEXITY.fill(
        HEAD.format(data=short_data(data), start=start), numbers
    )


def recall_answer(sentence: str, numbers: Numbers, config: Any, **names: object) -> str:
    """What a search finds among the first k: the second cutoff, or the only one.

    Args:
      sentence: with {k} and the names in `names`; numbers are named in double braces.
      numbers: of the report.
      config: has `cutoffs`.
      **names: further values for the sentence.
    """
    k = config.cutoffs[min(1, len(config.cutoffs) - 1)]
    return RECALL.fill(sentence.format(k=k, **names), numbers)
