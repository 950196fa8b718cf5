"""Every pair of several tokenizers on the same texts, encoded once per tokenizer."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from helix_jax.stats import Interval, bootstrap_statistic, mean_of_sums
from helix_jax.text.compatibility import (
    RATES,
    SPELLINGS,
    Spelled,
    match_counts,
    spell,
    vocabulary_jaccard,
)
from helix_jax.text.tokens import encode_texts, private_tokenizer

_WHOLE = 2**31 - 1  # tokens: texts are not cut


class PairCounts(NamedTuple):
    """The tokens of the same N texts by several tokenizers.

    Attributes:
      spelled: name -> its vocabulary.
      tokens: name -> tokens of all texts, special ones not counted.
      matches: pair of names -> rate of RATES -> [N, 2] int64, see `match_counts`.
    """

    spelled: dict[str, Spelled]
    tokens: dict[str, int]
    matches: dict[tuple[str, str], dict[str, np.ndarray]]


class Likeness(NamedTuple):
    """How similar two tokenizers are.

    Attributes:
      jaccard: spelling of SPELLINGS -> Jaccard index of the vocabularies.
      match: rate of RATES -> share of tokens that match, with its interval.
    """

    jaccard: dict[str, float]
    match: dict[str, Interval]


def likeness(
    counts: PairCounts,
    pair: tuple[str, str],
    documents: Sequence[str],
    *,
    resamples: int = 2000,
) -> Likeness:
    """Both kinds of numbers of one pair.

    Args:
      counts: from `count_matches`.
      pair: the names of two tokenizers, the target's last.
      documents: [N] document of each text.
      resamples: of the bootstrap over documents.

    Raises:
      ValueError: as `bootstrap_statistic`.
    """
    x, y = (counts.spelled[name] for name in pair)
    return Likeness(
        {name: vocabulary_jaccard(x, y, spelling=name) for name in SPELLINGS},
        {
            rate: bootstrap_statistic(
                rows, documents, mean_of_sums, resamples=resamples
            )
            for rate, rows in counts.matches[pair].items()
        },
    )


def count_matches(
    tokenizers: Mapping[str, Any], batches: Iterable[Sequence[str]]
) -> PairCounts:
    """The `match_counts` of every pair, over all texts in order.

    Args:
      tokenizers: name -> fast tokenizer; in a pair the later one is the target.
      batches: whole texts, some at a time.

    Returns:
      PairCounts.

    Raises:
      ValueError: as `token_bytes` and `private_tokenizer`.
    """
    spelled = {name: spell(tokenizer) for name, tokenizer in tokenizers.items()}
    backends = {
        name: private_tokenizer(tokenizer, max_tokens=_WHOLE)
        for name, tokenizer in tokenizers.items()
    }
    tokens = dict.fromkeys(tokenizers, 0)
    parts: dict[tuple[str, str], list[dict[str, np.ndarray]]] = {
        pair: [] for pair in itertools.combinations(tokenizers, 2)
    }
    for texts in batches:
        encoded = {
            name: encode_texts(backend, texts, with_ends=True)
            for name, backend in backends.items()
        }
        for name, side in encoded.items():
            tokens[name] += sum(int((ends >= 0).sum()) for ends in side.known_ends)
        for (a, b), counts in parts.items():
            counts.append(match_counts(spelled[a], spelled[b], encoded[a], encoded[b]))
    matches = {
        pair: {rate: np.concatenate([some[rate] for some in counts]) for rate in RATES}
        for pair, counts in parts.items()
    }
    return PairCounts(spelled, tokens, matches)
