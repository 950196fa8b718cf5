"""Growing samples of texts, and where a curve over them stops falling."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from experiments.shared.method_maps import Rows, with_ends
from helix_jax.alignment import Moments, from_batch, merge
from helix_jax.errors import RunError
from helix_jax.stats import at_most, exact_fraction
from helix_jax.text.hashing import hashed_order


class Curve(NamedTuple):
    """One method's test rows at each size; means over orders.

    Attributes:
      error: [S, N] squared error of each test text.
      right: [S, N] whether the target's probe is right.
    """

    error: np.ndarray
    right: np.ndarray


def sample_sizes(rows: int, least: int, count: int) -> tuple[int, ...]:
    """Sizes from `least` to all rows, evenly by ratio.

    Raises:
      RunError: there are no more rows than `least`.
    """
    if least >= rows:
        raise RunError(
            f"scaling: --least={least} needs to be below the {rows} texts of the fit "
            "split."
        )
    sizes = np.unique(np.geomspace(least, rows, count).round().astype(int))
    return tuple(int(one) for one in sizes)


def document_order(ids: Sequence[str], seed: int) -> np.ndarray:
    """Rows by a hash of their documents: those of one stay together."""
    return hashed_order(ids, salt=f"scaling {seed}", by_document=True)


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
    if not np.isfinite(loss[-1]):
        return sizes[-1]
    least = exact_fraction(loss[-1]) * (1 + exact_fraction(tolerance))
    above = np.flatnonzero(~at_most(loss, least))
    return sizes[0] if not len(above) else sizes[min(above[-1] + 1, len(sizes) - 1)]


def summarise(
    name: str,
    curve: Curve,
    variance: np.ndarray,
    sizes: Sequence[int],
    documents: Sequence[str],
    *,
    tolerance: float,
    resamples: int,
) -> dict[str, float]:
    """Scores at each size and the plateau, with intervals over test documents."""
    codes = np.unique(np.asarray(documents), return_inverse=True)[1]
    parts = [*curve.error, *curve.right, variance, np.ones(len(codes))]
    sums = np.stack([np.bincount(codes, part) for part in parts], axis=1)
    generator = np.random.default_rng(0)
    drawn = generator.integers(len(sums), size=(resamples, len(sums)))
    counts = np.stack([np.bincount(one, minlength=len(sums)) for one in drawn])
    every = np.vstack([np.ones(len(sums)), counts]) @ sums  # the first is all rows
    count = len(sizes)
    loss = every[:, :count] / every[:, -2:-1]
    accuracy = every[:, count : 2 * count] / every[:, -1:]
    plateau = np.array([plateau_size(one, sizes, tolerance) for one in loss])
    summary = with_ends(f"scaling/{name}_plateau_rows", _interval(plateau))
    summary[f"scaling/{name}_plateau_found"] = int(plateau[0] < sizes[-1])
    for place, size in enumerate(sizes):
        if np.isnan(loss[0, place]):
            continue
        start = f"scaling/{name}_{size}"
        summary |= with_ends(f"{start}_loss", _interval(loss[:, place]))
        summary |= with_ends(f"{start}_r2", _interval(1 - loss[:, place]))
        summary |= with_ends(f"{start}_accuracy", _interval(accuracy[:, place]))
    return summary


def _interval(values: np.ndarray) -> tuple[float, float, float]:
    """The first value, and the percentiles of the others."""
    return values[0], *np.quantile(values[1:], [0.025, 0.975])
