"""Tokens characteristic of a class: what a steered model should say more often.

For each token w, held by a texts of the class and b of the rest, the log-odds ratio
under a Dirichlet prior c_w that is the share of all texts times `prior`,

    log (a + c) / (A + C - a - c) - log (b + c) / (B + C - b - c),

over its standard deviation sqrt(1 / (a + c) + 1 / (b + c)); A, B, C are sums over all
tokens. The largest are the class's tokens, the smallest the rest's.

Reference: Monroe, Colaresi, Quinn 2008, "Fightin' words", equations 15 to 22, counting
  the texts that hold a token, not its occurrences.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from helix_jax.monitors.directions import two_classes
from helix_jax.types import Array


class ClassTokens(NamedTuple):
    """Tokens of a class and of the rest.

    Attributes:
      of_class, of_rest: [K] int32 token ids, the most telling ones first.
    """

    of_class: np.ndarray
    of_rest: np.ndarray


def telling_tokens(
    ids: Sequence[Sequence[int]],
    labels: Array,
    *,
    vocabulary: int,
    count: int = 32,
    least_texts: int = 5,
    prior: float = 100.0,
) -> ClassTokens:
    """The tokens that differ most between the texts of a class and the rest.

    Args:
      ids: N texts as token ids, without special tokens.
      labels: [N] bool or 0 and 1.
      vocabulary: V.
      count: K tokens of each side.
      least_texts: a token in fewer of the N is left out.
      prior: weight of the prior, in tokens of texts.

    Returns:
      ClassTokens.

    Raises:
      ValueError: one class only, an id outside the vocabulary, or fewer than K tokens
        that lean to a side.
    """
    labels = two_classes("telling_tokens", labels, len(ids))
    held = np.zeros((2, vocabulary))
    for own, label in zip(ids, labels):
        distinct = np.unique(np.asarray(own, np.int64))
        if len(distinct) and not 0 <= distinct[0] <= distinct[-1] < vocabulary:
            raise ValueError(
                f"telling_tokens: ids must be 0 to {vocabulary - 1}, got "
                f"{int(distinct[-1])}; give the ids of this model's tokenizer."
            )
        held[label, distinct] += 1
    total = held.sum(axis=0)
    share = prior * total / max(total.sum(), 1)
    every, odds = total >= least_texts, []
    share = np.where(every, share, 1)
    for counts in held:
        inside = counts + share
        outside = counts.sum() + prior - inside
        odds.append(np.log(inside) - np.log(np.maximum(outside, 1e-9)))
    spread = np.sqrt(sum(1 / (counts + share) for counts in held))
    telling = np.where(every, (odds[1] - odds[0]) / spread, 0)
    order = np.argsort(-telling, kind="stable")
    sides = order[:count], order[::-1][:count]
    if telling[sides[0]].min() <= 0 or telling[sides[1]].max() >= 0:
        raise ValueError(
            f"telling_tokens: fewer than {count} tokens of {least_texts} texts or more "
            "lean to each side; use more texts, or request fewer tokens."
        )
    return ClassTokens(*(side.astype(np.int32) for side in sides))
