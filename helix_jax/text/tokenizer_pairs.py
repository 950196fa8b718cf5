"""Every pair of some tokenizers on the same texts; each text is encoded once a side."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from helix_jax.text.compatibility import RATES, Spelled, match_counts, spell
from helix_jax.text.tokens import encode_texts, private_tokenizer

_WHOLE = 2**31 - 1  # tokens: texts are not cut


class PairCounts(NamedTuple):
    """What some tokenizers make of the same N texts.

    Attributes:
      spelled: name -> its vocabulary.
      tokens: name -> tokens of all texts, special ones not counted.
      matches: pair of names -> rate of RATES -> [N, 2] int64, see `match_counts`.
    """

    spelled: dict[str, Spelled]
    tokens: dict[str, int]
    matches: dict[tuple[str, str], dict[str, np.ndarray]]


def count_matches(
    tokenizers: Mapping[str, Any], batches: Iterable[Sequence[str]]
) -> PairCounts:
    """What `match_counts` says of every pair, over all texts in their order.

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
    parts = {pair: [] for pair in itertools.combinations(tokenizers, 2)}
    for texts in batches:
        encoded = {
            name: encode_texts(backend, texts, with_ends=True)
            for name, backend in backends.items()
        }
        for name, side in encoded.items():
            tokens[name] += sum(int((ends >= 0).sum()) for ends in side.ends)
        for (a, b), counts in parts.items():
            counts.append(match_counts(spelled[a], spelled[b], encoded[a], encoded[b]))
    matches = {
        pair: {rate: np.concatenate([some[rate] for some in counts]) for rate in RATES}
        for pair, counts in parts.items()
    }
    return PairCounts(spelled, tokens, matches)
