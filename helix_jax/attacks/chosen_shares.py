"""Recover differences of logits from labels, by choosing shares.

Under the policy "label" a client can move the shares that it sends in the second round;
it then learns the class with the largest logit + move. If all but two classes are moved
out of reach, each query halves the interval that contains the difference of those two:
one bit per query, which is all that a label of two classes can reveal.

Reference: ours; the bound is that of docs/labels.md.
"""

import numpy as np

from helix_jax.private import LabelClient, Provider
from helix_jax.private.policies import LABEL_BITS


class MovedShares(LabelClient):
    """A client that adds numbers to its shares.

    Attributes:
      moves: [B, k] int64, added modulo 2^LABEL_BITS, or 0.
    """

    moves: np.ndarray | int = 0

    def _shares(self, phases: np.ndarray) -> np.ndarray:
        return (super()._shares(phases) + self.moves) % 2**LABEL_BITS


def bisect(
    side: MovedShares,
    provider: Provider,
    x: np.ndarray,
    pairs: np.ndarray,
    *,
    queries: int,
) -> np.ndarray:
    """The logit of one class minus that of another, for each row.

    Args:
      side: a client that has agreed with the provider.
      provider: of the layer.
      x: [B, d] float, within the layer's norm.
      pairs: [B, 2] int, two classes of each row.
      queries: Q, for each row; each query halves the interval of possible values.

    Returns:
      [Q, B] float64, the middle of the interval left after each query.
    """
    layer, rows = side.layer, np.arange(len(x))
    # Differences lie within a quarter of the range, far from where others are moved.
    low = np.full(len(x), -(2 ** (LABEL_BITS - 3)))
    high, found = -low, []
    for _ in range(queries):
        middle = (low + high) // 2
        moves = np.full((len(x), layer.plan.classes), -(2 ** (LABEL_BITS - 2)))
        moves[rows, pairs[:, 0]], moves[rows, pairs[:, 1]] = 0, middle
        side.moves = moves
        answer = provider.answer(side.encrypt(x))
        first = side.read(provider.label(side.choose(answer))) == pairs[:, 0]
        low, high = np.where(first, middle, low), np.where(first, high, middle)
        found.append((low + high) / 2)
    side.moves = 0
    unit = layer.profile.modulus * 2.0 ** (-LABEL_BITS - layer.result_bits)
    return unit * np.stack(found)
