"""Summary of many pairs' scores: each compared with chance, and means, with intervals.

Scores of pairs of rows have jackknife intervals over groups of documents, means over
rows bootstrap intervals over documents; see `stats.jackknife` for why.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from helix_jax.similarity.calibration import calibrate
from helix_jax.similarity.scores import Scores
from helix_jax.stats import (
    Interval,
    benjamini_hochberg,
    bootstrap_interval,
    jackknife_interval,
)

_BEST = {"procrustes": 0.0, "divergence": 0.0}  # of identical states; 1 for the others


class PairScore(NamedTuple):
    """A measure's values for one pair.

    Attributes:
      score: with its 95% interval.
      shuffled: mean over shuffled pairs.
      calibrated: 0 by chance, 1 at best.
      z: standard deviations from chance.
      p: one-sided, of the shuffles.
      q: false discovery rate over all pairs (Benjamini and Hochberg).
    """

    score: Interval
    shuffled: float
    calibrated: float
    z: float
    p: float
    q: float


class MeasureScores(NamedTuple):
    """A measure's values for all pairs: their mean with its interval, and each."""

    mean: Interval
    pairs: list[PairScore]

    @property
    def shuffled(self) -> float:
        """Mean over pairs of the shuffled scores."""
        return float(np.mean([pair.shuffled for pair in self.pairs]))

    @property
    def calibrated(self) -> float:
        """Mean over pairs, 0 by chance."""
        return float(np.mean([pair.calibrated for pair in self.pairs]))

    def discoveries(self, rate: float) -> int:
        """How many pairs are more alike than chance, at a false discovery rate."""
        return sum(pair.q <= rate for pair in self.pairs)


def summary_numbers(
    results: Mapping[str, MeasureScores], pairs: Sequence[str], *, rate: float
) -> dict[str, float | Interval]:
    """Every measure's means over pairs, and its numbers for each pair by name.

    Args:
      results: measure -> its scores.
      pairs: their names, such as A/B.
      rate: of false discoveries.

    Returns:
      MEASURE_mean, _shuffled, _calibrated, _discoveries; PAIR/MEASURE and
      PAIR/MEASURE_shuffled, _calibrated, _z, _p, _q.
    """
    numbers: dict[str, float | Interval] = {}
    for measure, scores in results.items():
        numbers |= {
            f"{measure}_mean": scores.mean,
            f"{measure}_shuffled": scores.shuffled,
            f"{measure}_calibrated": scores.calibrated,
            f"{measure}_discoveries": scores.discoveries(rate),
        }
        for name, (score, *chance) in zip(pairs, scores.pairs):
            numbers[f"{name}/{measure}"] = score
            for field, value in zip(PairScore._fields[1:], chance):
                numbers[f"{name}/{measure}_{field}"] = value
    return numbers


def summarise(scores: Scores, measure: str, documents: Sequence[str]) -> MeasureScores:
    """A measure's pairs against chance, and its mean over pairs, with 95% intervals.

    Args:
      scores: of [pairs].
      measure: one of those scored.
      documents: [N] document of each test row.

    Returns:
      MeasureScores.

    Raises:
      ValueError: as `calibrate` and `bootstrap_interval`.
    """
    value = scores.value[measure]
    placed = calibrate(value, scores.null[measure], best=_BEST.get(measure, 1.0))
    if measure in scores.by_row:
        rows = scores.by_row[measure]
        mean = bootstrap_interval(rows.mean(axis=1), documents)
        each = [bootstrap_interval(row, documents) for row in rows.T]
    else:
        left_out = scores.left_out[measure]
        mean = jackknife_interval(np.mean(value), left_out.mean(axis=1))
        ends = map(np.asarray, jackknife_interval(value, left_out))
        each = [Interval(*three) for three in zip(*ends)]
    p = np.asarray(placed.p)
    chance = (placed.null_mean, placed.calibrated, placed.z, p, benjamini_hochberg(p))
    pairs = [
        PairScore(Interval(*map(float, interval)), *map(float, numbers))
        for interval, numbers in zip(each, zip(*map(np.asarray, chance)))
    ]
    return MeasureScores(Interval(*map(float, mean)), pairs)
