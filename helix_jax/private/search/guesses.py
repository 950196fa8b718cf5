"""The guess of a provider that knows the choices of a client's other queries.

    guess = argmax_s p(s) / w(s) among the sets that were asked

with p the choices of half of the queries, smoothed towards the weights w by one query's
worth: what `plausible` shows to be the best guess where p is the client's distribution.
"""

import numpy as np

from helix_jax.private.search.client import SearchClient
from helix_jax.private.search.plausible import posterior


def guess_choices(search: SearchClient, chosen: np.ndarray) -> np.ndarray:
    """Whether the choices of the later half are guessed by those of the earlier one.

    Args:
      search: of the client, whose decoys are those that it would ask with.
      chosen: [Q] sets that its queries chose.

    Returns:
      [Q - Q // 2] probability that the guess is right: of equally good guesses each is
      as likely.
    """
    _, weights = search.about.layout.choices()
    known, asked = np.split(chosen, [len(chosen) // 2])
    counts = np.bincount(known, minlength=len(weights))
    prior = (counts + weights / weights.sum()) / (len(known) + 1)
    sets = np.stack([search.sets_of(one) for one in asked])
    believed = posterior(sets, prior, weights)
    # To rounding: of a prior that is the weights' all are as good.
    best = believed >= believed.max(axis=1, keepdims=True) * (1 - 1e-9)
    return (best & (sets == asked[:, None])).sum(axis=1) / best.sum(axis=1)
