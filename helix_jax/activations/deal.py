"""Rows of two sides that share no text, split by a hash of their documents."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from helix_jax.text.hashing import document_of, part_of


class Dealt(NamedTuple):
    """Rows of both sides that share no text, and paired rows of the source's texts.

    Attributes:
      x: [N, dx] source states.
      y: [M, dy] target states, of other texts.
      paired: [N, dy] target states of the source's texts, for the ceiling.
    """

    x: np.ndarray
    y: np.ndarray
    paired: np.ndarray


def deal_rows(
    ids: Sequence[str],
    rows: tuple[np.ndarray, np.ndarray],
    *,
    seed: int,
    others: np.ndarray | None = None,
) -> Dealt:
    """Give half of the documents to the source; the rest, or `others`, to the target.

    Args:
      ids: [N] text ids.
      rows: source states [N, dx] and target states [N, dy] of these texts.
      seed: of the deal.
      others: [M, dy] target states of other texts; None: use the other half.
    """
    salt = f"deal {seed}"
    parts = [part_of(document_of(name), 2, salt=salt) for name in ids]
    to_source = np.array(parts, int) == 0
    x, y = rows
    others = y[~to_source] if others is None else others
    return Dealt(x[to_source], others, y[to_source])
