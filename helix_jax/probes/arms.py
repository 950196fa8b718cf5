"""Scores of one arm, a way of classifying rows, averaged over several draws."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from helix_jax import checks
from helix_jax.probes.metrics import calibration_error, macro_f1
from helix_jax.stats import Interval, bootstrap_interval
from helix_jax.types import Array


class ArmScores(NamedTuple):
    """Means over draws.

    Attributes:
      accuracy: with a bootstrap interval over documents.
      macro_f1: []
      calibration_error: []
      accuracy_std: standard deviation over draws; None for a single draw.
    """

    accuracy: Interval
    macro_f1: float
    calibration_error: float
    accuracy_std: float | None

    def numbers(self, name: str) -> dict[str, float | Interval]:
        """NAME_accuracy, NAME_macro_f1 and so on, without those that are None."""
        return {
            f"{name}_{field}": value
            for field, value in self._asdict().items()
            if value is not None
        }


def right_rows(draws: Sequence[Array], labels: Array) -> np.ndarray:
    """Whether each draw predicts each label.

    Args:
      draws: S of [N, C] float logits.
      labels: [N] int.

    Returns:
      [S, N] float64, 1 where the label has the largest logit.

    Raises:
      ValueError: a draw and the labels differ in their number of rows.
    """
    for logits in draws:
        checks.same_rows("right_rows", logits=logits, labels=labels)
    labels = np.asarray(labels)
    return np.array([np.asarray(z).argmax(-1) == labels for z in draws], float)


def arm_scores(
    draws: Sequence[Array],
    labels: Array,
    documents: Sequence[str] | Array,
    *,
    resamples: int = 2000,
) -> ArmScores:
    """Accuracy with its interval, macro F1 and calibration error.

    Args:
      draws: S of [N, C] float logits, such as one for each seed.
      labels: [N] int.
      documents: [N] document of each row.
      resamples: R; documents are resampled together with all draws' predictions.

    Returns:
      ArmScores.

    Raises:
      ValueError: as `bootstrap_interval`, `macro_f1` and `calibration_error`.
    """
    right = right_rows(draws, labels)
    draws = [np.asarray(logits) for logits in draws]
    return ArmScores(
        bootstrap_interval(right.mean(axis=0), documents, resamples=resamples),
        _mean(macro_f1(z.argmax(-1), labels, z.shape[1]) for z in draws),
        _mean(calibration_error(z, labels) for z in draws),
        float(np.std(right.mean(axis=1))) if len(draws) > 1 else None,
    )


def _mean(values: Iterable[Array]) -> float:
    return float(np.mean([float(value) for value in values]))
