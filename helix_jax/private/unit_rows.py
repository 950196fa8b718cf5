"""Rows in the unit ball, by public numbers, as differential privacy needs them.

    u = clip((x - centre) basis / scales),   clip(v) = v min(1, 1 / |v|)

A row changes a sum by at most its norm, so noise of one size hides any row. Centre,
basis and scales must not depend on the rows to be protected: they come from a
reference, public rows of other texts. Rows that need no protection (the client's, in a
fit that protects the provider's rows) may be their own reference.

The source is projected to few directions and whitened: noise in a map grows with the
number of directions, and is least for white rows (the product of the rows' mean square
and the noise's, by Cauchy and Schwarz).

Reference: clipping: Abadi et al. 2016, arXiv 1607.00133. Public second moments: Wang
  2018, arXiv 1803.02596, has private ones (AdaSSP).
"""

from typing import NamedTuple

import numpy as np

from helix_jax import numeric
from helix_jax.alignment import AffineMap
from helix_jax.types import Array

_LEAST = 2.0**-30  # of the largest deviation; a column below it counts as constant
MARGIN = 2.0**-30  # below norm 1, room for the rounding of norms in float64


class UnitRows(NamedTuple):
    """The public transformation of rows into the unit ball.

    Attributes:
      centre: [d].
      basis: [d, r], orthonormal; None where r = d and it is the identity.
      scales: [r], positive; infinite for constant columns.
    """

    centre: np.ndarray
    basis: np.ndarray | None
    scales: np.ndarray

    def apply(self, rows: Array) -> np.ndarray:
        """Rows [n, d] as rows [n, r] float64, clipped to norm at most 1."""
        return clip_rows(self._whiten(rows))

    def _whiten(self, rows: Array) -> np.ndarray:
        rows = numeric.numbers("unit_rows", "rows", rows, rank=2)
        moved = np.asarray(rows, np.float64) - self.centre
        return (moved if self.basis is None else moved @ self.basis) / self.scales


def clip_rows(rows: np.ndarray) -> np.ndarray:
    """Shorten the rows [n, r] that are longer than 1 to norm 1."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(norms, 1)


def unit_rows(
    reference: Array, *, rank: int | None = None, quantile: float = 0.5
) -> UnitRows:
    """Fit the transformation into the unit ball to a reference.

    Args:
      reference: [m, d] float, finite, public.
      rank: number of principal directions to project to and whiten; None scales each
        column by its standard deviation.
      quantile: the quantile of the reference's norms that becomes 1; longer rows are
        clipped.

    Returns:
      UnitRows.

    Raises:
      ValueError: a shape or a number is not allowed, or the reference has no variance.
    """
    rows = numeric.numbers("unit_rows", "reference", reference, rank=2)
    rows = np.asarray(rows, np.float64)
    if len(rows) < 2 or not np.isfinite(rows).all():
        raise ValueError(
            f"unit_rows: the reference needs 2 finite rows or more, got {rows.shape}."
        )
    if rank is not None and not 1 <= rank <= min(rows.shape[1], len(rows) - 1):
        raise ValueError(
            f"unit_rows: rank needs 1 to {min(rows.shape[1], len(rows) - 1)} for a "
            f"reference of shape {rows.shape}, got {rank}."
        )
    if not 0 < quantile <= 1:
        raise ValueError(f"unit_rows: quantile needs 0 to 1, got {quantile}.")
    centre, basis = rows.mean(axis=0), None
    moved = rows - centre
    if rank is None:
        deviations = moved.std(axis=0)
    else:
        values, vectors = np.linalg.eigh(moved.T @ moved / len(rows))
        basis = vectors[:, ::-1][:, :rank]
        deviations = np.sqrt(np.maximum(values[::-1][:rank], 0))
    least = _LEAST * deviations.max()
    if not least > 0:
        raise ValueError("unit_rows: all rows of the reference are the same.")
    scales = np.where(deviations > least, deviations, np.inf)
    white = UnitRows(centre, basis, scales)
    radius = np.quantile(np.linalg.norm(white._whiten(rows), axis=1), quantile)
    return white._replace(scales=scales * max(radius, _LEAST))


def expand_map(affine: AffineMap, source: UnitRows, target: UnitRows) -> AffineMap:
    """Turn a map between rows in the unit ball into one between the original rows.

    Args:
      affine: kernel [r, d_y] and bias [d_y], fitted to rows in the unit ball.
      source: the transformation of x.
      target: the transformation of y, without a basis.

    Raises:
      ValueError: the target is projected.
    """
    if target.basis is not None:
        raise ValueError("expand_map: the target's rows must not be projected.")
    back = np.where(np.isfinite(target.scales), target.scales, 0)
    kernel = np.asarray(affine.kernel) / source.scales[:, None] * back
    if source.basis is not None:
        kernel = source.basis @ kernel
    bias = target.centre + np.asarray(affine.bias) * back - source.centre @ kernel
    return AffineMap(kernel, bias)


def require_unit(who: str, rows: np.ndarray) -> None:
    """Raise ValueError where a row is longer than 1."""
    require_longest(who, float(np.linalg.norm(rows, axis=1).max(initial=0.0)))


def require_longest(who: str, longest: float) -> None:
    """Raise ValueError where the largest norm of a row is above 1."""
    if not longest <= 1 + MARGIN / 2:
        raise ValueError(
            f"{who}: differential privacy needs rows of norm 1 at most, the longest "
            f"is {longest:g}; bring them into the unit ball with public numbers: "
            "`unit_rows(reference).apply(rows)`."
        )


def unit_integers(who: str, rows: np.ndarray, bits: int) -> np.ndarray:
    """Rows in the unit ball as integers of norm at most 2^bits, float64 [n, r].

    They are rounded towards zero, so that no norm grows.

    Raises:
      ValueError: a row is longer than 1.
    """
    require_unit(who, rows)
    return np.trunc(np.ldexp(rows * (1 - MARGIN), bits))
