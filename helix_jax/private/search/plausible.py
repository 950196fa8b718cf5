"""The clusters that a query requests, from a public list, and its decoys.

The list holds the probe sets of some rows of the index, each with a weight w: how many
rows of a sample choose it. A query chooses one set, with a value for each cluster that
falls with its rank,

    chosen = argmax_s sum_{c in s} 1 / (rank of c + 1),   ranks below the size of a set

and D decoys are drawn with probabilities proportional to the weights, independently of
the chosen set. Given the D + 1 sets and a prior p of the chosen one, the provider's
posterior of each is

    p(s) / w(s)  over their sum,   1 / (D + 1) where p = w:

decoys are exchangeable with a choice that has their distribution. Decoys are a function
of the chosen set and of a secret of the client, so that the same set is always
requested with the same others.

Reference: ours.
"""

import hashlib
import hmac

import numpy as np
from scipy.sparse import csr_array

_BLOCK = 4096


def choose_sets(scores: np.ndarray, sets: np.ndarray) -> np.ndarray:
    """The set that each query chooses.

    Args:
      scores: [n, C] of the queries with the centroids.
      sets: [L, P] the clusters of every set.

    Returns:
      [n] int64.
    """
    lists, probes = sets.shape
    inside = np.ones(sets.size, np.float32), sets.reshape(-1)
    starts = np.arange(0, sets.size + 1, probes)
    members = csr_array((*inside, starts), (lists, scores.shape[1])).T.tocsr()
    worth = 1 / (1 + np.arange(probes, dtype=np.float32))
    chosen = np.empty(len(scores), np.int64)
    for start in range(0, len(scores), _BLOCK):
        own = slice(start, start + _BLOCK)
        order = best_clusters(scores[own], probes)
        values = np.tile(worth, len(order)), order.reshape(-1)
        starts = np.arange(0, order.size + 1, probes)
        shape = len(order), scores.shape[1]
        chosen[own] = (csr_array((*values, starts), shape) @ members).argmax(axis=1)
    return chosen


def best_clusters(scores: np.ndarray, count: int) -> np.ndarray:
    """The clusters with the highest scores [n, C], best first: [n, count]."""
    best = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    values = np.take_along_axis(scores, best, axis=1)
    return np.take_along_axis(best, np.argsort(-values, axis=1, kind="stable"), axis=1)


def draw_decoys(
    secret: bytes, name: bytes, chosen: int, weights: np.ndarray, count: int
) -> np.ndarray:
    """Draw the sets that hide a chosen one, fixed by the secret and that set: [count].

    Args:
      secret: of the client.
      name: of the index.
      chosen: the set.
      weights: [L] int64, positive.
      count: D.
    """
    ends = np.cumsum(weights)
    drawn = [
        _uniform(secret, name, b"sets", chosen, i) * int(ends[-1]) >> 64
        for i in range(count)
    ]
    return np.searchsorted(ends, drawn, side="right")


def draw_blocks(
    secret: bytes, name: bytes, chosen: int, blocks: int, count: int
) -> np.ndarray:
    """Draw distinct other blocks that hide a chosen one: [count or all others]."""
    others = [block for block in range(blocks) if block != chosen]
    count = min(count, len(others))
    for i in range(count):  # Fisher and Yates
        j = i + (_uniform(secret, name, b"blocks", chosen, i) * (len(others) - i) >> 64)
        others[i], others[j] = others[j], others[i]
    return np.asarray(others[:count], np.int64)


def posterior(asked: np.ndarray, prior: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The probability, for a provider that knows the prior, that each set was chosen.

    Args:
      asked: [..., D + 1] the chosen set and its decoys, in any order.
      prior: [L] probabilities of the client's choice.
      weights: [L] of the list.

    Returns:
      [..., D + 1] float, summing to 1.
    """
    ratio = prior[asked] / weights[asked]
    total = ratio.sum(axis=-1, keepdims=True)
    even = np.full_like(ratio, 1 / ratio.shape[-1])
    return np.divide(ratio, total, out=even, where=total > 0)


def _uniform(secret: bytes, name: bytes, use: bytes, chosen: int, i: int) -> int:
    """64 bits of a pseudo-random function under the client's secret."""
    text = b"|".join([b"helix_jax decoys", use, name, b"%d" % chosen, b"%d" % i])
    return int.from_bytes(hmac.digest(secret, text, hashlib.sha256)[:8], "little")
