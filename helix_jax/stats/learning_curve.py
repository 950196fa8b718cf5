"""Scores against the number of rows that something is fitted on, and their plateau.

A curve holds what every test row contributes at each size, so that one bootstrap over
documents gives the intervals of all its points and of where it stops falling.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from helix_jax import checks
from helix_jax.stats.bootstrap import bootstrap_counts
from helix_jax.stats.documents import document_codes
from helix_jax.stats.exact import at_most, exact_fraction
from helix_jax.stats.interval import Interval


class LearningCurve(NamedTuple):
    """Scores at S sizes.

    Attributes:
      sizes: [S] int, ascending.
      loss: Interval of [S] float64, error over deviation: the share of the variance
        that is not explained. NaN at a size where the fit is not defined.
      accuracy: Interval of [S] float64, NaN alike.
      plateau: Interval of the size from which on the loss has stopped falling.
    """

    sizes: tuple[int, ...]
    loss: Interval
    accuracy: Interval
    plateau: Interval

    @property
    def found(self) -> bool:
        """Whether the loss stops falling before the last size."""
        return bool(self.plateau.value < self.sizes[-1])

    def at(self, size: int) -> dict[str, Interval]:
        """loss, r2 and accuracy at one size; empty where the fit is not defined."""
        place = self.sizes.index(size)
        loss, accuracy = (
            Interval(*(float(np.asarray(end)[place]) for end in curve))
            for curve in (self.loss, self.accuracy)
        )
        if np.isnan(loss.value):
            return {}
        r2 = Interval(1 - loss.value, 1 - loss.high, 1 - loss.low)
        return {"loss": loss, "r2": r2, "accuracy": accuracy}

    def points(self) -> dict[int, dict[str, Interval]]:
        """Size -> its scores, wherever the fit is defined."""
        return {size: scores for size in self.sizes if (scores := self.at(size))}


def plateau_size(loss: np.ndarray, sizes: Sequence[int], *, tolerance: float) -> int:
    """The smallest size from which on the loss is within a share of the last one.

    Args:
      loss: [S] float, at each size.
      sizes: [S] int, ascending.
      tolerance: the loss may be (1 + tolerance) times the last one.

    Returns:
      One of the sizes; the last where the loss falls to the end, or is not finite
      there.
    """
    if not np.isfinite(loss[-1]):
        return sizes[-1]
    most = exact_fraction(loss[-1]) * (1 + exact_fraction(tolerance))
    above = np.flatnonzero(~at_most(loss, most))
    return sizes[0] if not len(above) else sizes[min(above[-1] + 1, len(sizes) - 1)]


def learning_curve(
    error: np.ndarray,
    right: np.ndarray,
    deviation: np.ndarray,
    documents: Sequence[str] | np.ndarray,
    sizes: Sequence[int],
    *,
    tolerance: float,
    resamples: int,
) -> LearningCurve:
    """Loss and accuracy at each size and the plateau, with intervals over documents.

    Args:
      error: [S, N] float, squared error of each test row at each size.
      right: [S, N] float or bool, whether it is classified correctly.
      deviation: [N] float, its squared distance from the mean of all.
      documents: [N] document of each row.
      sizes: [S] int, ascending.
      tolerance: as for `plateau_size`.
      resamples: R; the ends are percentiles 2.5 and 97.5.

    Returns:
      LearningCurve.

    Raises:
      ValueError: shapes that do not fit.
    """
    who, count, rows = "learning_curve", len(sizes), len(deviation)
    checks.require_shape(who, "error", error, (count, rows))
    checks.require_shape(who, "right", right, (count, rows))
    codes, groups = document_codes(who, documents, rows)
    columns = [*error, *right, deviation, np.ones(rows)]
    sums = np.stack([np.bincount(codes, column, groups) for column in columns], axis=1)

    def scores(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        total = counts @ sums
        loss = total[:, :count] / total[:, -2:-1]
        accuracy = total[:, count : 2 * count] / total[:, -1:]
        plateau = [plateau_size(one, sizes, tolerance=tolerance) for one in loss]
        return loss, accuracy, np.array(plateau)

    intervals = bootstrap_counts(
        scores, [groups], chance=np.random.default_rng(0), resamples=resamples
    )
    return LearningCurve(tuple(sizes), *intervals)
