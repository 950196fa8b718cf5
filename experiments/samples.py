"""Growing samples of texts, and where a curve over them stops falling."""

from collections.abc import Iterator, Sequence

import numpy as np

from experiments.fits import Rows
from helix_jax.alignment import Moments, from_batch, merge
from helix_jax.errors import RunError
from helix_jax.text.hashing import document_of, unit_hash


def sample_sizes(rows: int, least: int, count: int) -> tuple[int, ...]:
    """Sizes from `least` to all rows, evenly by ratio.

    Raises:
      RunError: there are no more rows than `least`.
    """
    if not 2 <= least < rows or count < 2:
        raise RunError(
            f"scaling: --least={least} needs to be below the {rows} texts of the fit "
            f"split, and --sizes={count} two or more."
        )
    sizes = np.unique(np.geomspace(least, rows, count).round().astype(int))
    return tuple(int(one) for one in sizes)


def document_order(ids: Sequence[str], seed: int) -> np.ndarray:
    """Rows by a hash of their documents: those of one stay together."""
    salt = f"scaling {seed}"
    keys = [(unit_hash(document_of(one), salt=salt), one) for one in ids]
    return np.array(sorted(range(len(ids)), key=keys.__getitem__))


def growing_moments(
    rows: Rows, order: np.ndarray, sizes: Sequence[int]
) -> Iterator[tuple[int, Moments]]:
    """Each size with the moments of so many first rows; every row is read once."""
    moments, start = None, 0
    for size in sizes:
        for first in range(start, size, 8192):
            places = order[first : min(first + 8192, size)]
            batch = from_batch(rows[0][places], rows[1][places])
            moments = batch if moments is None else merge(moments, batch)
        start = size
        yield size, moments


def plateau_size(loss: np.ndarray, sizes: Sequence[int], tolerance: float) -> int:
    """The smallest size from which on the loss is within a share of the last one."""
    above = np.flatnonzero(~(loss <= (1 + tolerance) * loss[-1]))
    return sizes[0] if not len(above) else sizes[min(above[-1] + 1, len(sizes) - 1)]
