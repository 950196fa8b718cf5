"""Differences of logits from labels, by shares of the client's choosing.

Under the policy "label" a client may move the shares that it brings to the second
round, and learns the class of the largest of logits + moves. With all classes but two
moved out of sight, each query halves the interval of the difference of those two: one
bit a query, which is what a label of two classes can tell.

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
    """The logits of one class less those of another, for some rows.

    Args:
      side: agreed with the provider.
      provider: of the layer.
      x: [B, d] float, within the layer's norm.
      pairs: [B, 2] int, two classes of each row.
      queries: Q of each row; each halves what is possible.

    Returns:
      [Q, B] float64, the middle of what is left after each query.
    """
    layer, rows = side.layer, np.arange(len(x))
    # Differences lie within a quarter of the numbers, far from where others are moved.
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
