"""Moments of growing samples: each contains the previous one; rows are read once."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from helix_jax import checks, kinds
from helix_jax.alignment.moments import Moments, from_batch, merge
from helix_jax.arguments import takes
from helix_jax.types import Array


@takes(x=kinds.ARRAY, y=kinds.ARRAY)
def growing_moments(
    x: Array,
    y: Array,
    *,
    order: np.ndarray,
    sizes: Sequence[int],
    block_rows: int = 8192,
) -> Iterator[Moments]:
    """Moments of the first rows of an order, at each size.

    Args:
      x: [N, dx] float, source states.
      y: [N, dy] float, target states of the same texts.
      order: [N] int, rows; a sample is the first of them.
      sizes: rows of each sample, ascending, N at most.
      block_rows: rows per step.

    Returns:
      An iterator over the moments of each sample, computed on demand: the rows between
      two sizes are merged into the moments of the smaller.

    Raises:
      ValueError: x and y differ in rows, or the sizes do not ascend from 1 to N.
    """
    checks.require_pair("growing_moments", x, y)
    ends = [0, *sizes]
    if np.any(np.diff(ends) < 1) or ends[-1] > len(order):
        raise ValueError(
            f"growing_moments: sizes need to ascend, from 1 to {len(order)} rows, got "
            f"{list(sizes)}."
        )
    return _grow(x, y, np.asarray(order), ends, block_rows)


def _grow(
    x: Array, y: Array, order: np.ndarray, ends: Sequence[int], block_rows: int
) -> Iterator[Moments]:
    moments: Moments | None = None
    for start, end in itertools.pairwise(ends):
        for first in range(start, end, block_rows):
            rows = order[first : min(first + block_rows, end)]
            batch = from_batch(x[rows], y[rows])
            moments = batch if moments is None else merge(moments, batch)
        if moments is not None:
            yield moments
