"""The guess of a provider that knows the choices of a client's other queries.

    guess = argmax_s p(s) / w(s) among the sets that were requested

where p is the frequencies of the choices of half of the queries, smoothed towards the
weights w with the weight of one query. `plausible` shows that this guess is the best if
p is the client's distribution.
"""

import numpy as np

from helix_jax.private.search.client import SearchClient
from helix_jax.private.search.plausible import posterior


def guess_choices(search: SearchClient, chosen: np.ndarray) -> np.ndarray:
    """Guess each choice of the later half from the choices of the earlier half.

    Args:
      search: the client's, which determines the decoys that it would request.
      chosen: [Q] sets that its queries chose.

    Returns:
      [Q - Q // 2] probability that the guess is right; equally good guesses are equally
      likely.
    """
    _, weights = search.about.layout.choices()
    known, asked = np.split(chosen, [len(chosen) // 2])
    counts = np.bincount(known, minlength=len(weights))
    prior = (counts + weights / weights.sum()) / (len(known) + 1)
    sets = np.stack([search.sets_of(one) for one in asked])
    believed = posterior(sets, prior, weights)
    # Up to rounding: with the weights as the prior, all guesses are equally good.
    best = believed >= believed.max(axis=1, keepdims=True) * (1 - 1e-9)
    return (best & (sets == asked[:, None])).sum(axis=1) / best.sum(axis=1)
