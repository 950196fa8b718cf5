"""Scores of classifiers from their logits or predictions; plain numpy."""

import numpy as np

from helix_jax.types import Array


def accuracy(predictions: Array, labels: Array) -> float:
    """Share of rows whose prediction is the label; both [N] int."""
    predictions, labels = _same_rows("accuracy", predictions, labels)
    return float(np.mean(predictions == labels))


def macro_f1(predictions: Array, labels: Array, num_classes: int) -> float:
    """Mean over classes of the F1 score, as scikit-learn's f1_score(average="macro").

    Args:
      predictions, labels: [N] int.
      num_classes: C. A class neither predicted nor present is left out.

    Returns:
      A number in [0, 1].
    """
    predictions, labels = _same_rows("macro_f1", predictions, labels)
    size = num_classes
    confusion = np.bincount(labels * size + predictions, minlength=size * size)
    confusion = confusion.reshape(size, size)
    hits = np.diag(confusion)
    total = confusion.sum(0) + confusion.sum(1)
    return float(np.mean(2 * hits[total > 0] / total[total > 0]))


def calibration_error(logits: Array, labels: Array, *, bins: int = 15) -> float:
    """Expected calibration error: |confidence - accuracy|, averaged over bins.

    Args:
      logits: [N, C] float.
      labels: [N] int.
      bins: of equal width in the largest probability.

    Returns:
      A number in [0, 1].

    Reference: Guo et al. 2017, arXiv 1706.04599, equation 3.
    """
    logits = np.asarray(logits, np.float64)
    right, labels = _same_rows("calibration_error", logits.argmax(-1), labels)
    exponent = np.exp(logits - logits.max(-1, keepdims=True))
    confidence = (exponent / exponent.sum(-1, keepdims=True)).max(-1)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(place, weights=confidence - (right == labels), minlength=bins)
    return float(np.abs(gap).sum() / len(labels))


def _same_rows(who: str, left: Array, right: Array) -> tuple[np.ndarray, np.ndarray]:
    left, right = np.asarray(left), np.asarray(right)
    if left.shape != right.shape or left.ndim != 1 or not left.size:
        raise ValueError(
            f"{who}: needs predictions and labels of the same rows, at least one, got "
            f"{list(left.shape)} and {list(right.shape)}."
        )
    return left, right
