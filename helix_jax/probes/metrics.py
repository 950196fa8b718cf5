"""Scores of a classifier: accuracy, macro F1, calibration, negative log-likelihood."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from helix_jax import checks
from helix_jax.linalg import first_argmax, wide, wide_dtype
from helix_jax.probes.objective import margins
from helix_jax.types import Array


@wide
def accuracy(predicted: Array, labels: Array) -> Array:
    """Share of rows whose predicted class [N] int is their label [N] int."""
    _require_same_rows("accuracy", "predicted", predicted, labels)
    return jnp.mean(jnp.asarray(predicted) == jnp.asarray(labels), dtype=wide_dtype())


@wide
def confusion_matrix(predicted: Array, labels: Array, num_classes: int) -> Array:
    """[C, C] counts: rows are labels, columns predicted classes."""
    _require_same_rows("confusion_matrix", "predicted", predicted, labels)
    cells = jnp.asarray(labels) * num_classes + jnp.asarray(predicted)
    counts = jnp.bincount(cells, length=num_classes**2)
    return counts.reshape(num_classes, num_classes)


@wide
def f1_of_confusion(confusion: Array) -> Array:
    """Macro F1 from a confusion matrix [C, C]; `macro_f1` says of which classes."""
    both = jnp.sum(confusion, axis=0) + jnp.sum(confusion, axis=1)
    seen = both > 0
    f1 = 2 * jnp.diagonal(confusion) / jnp.where(seen, both, 1)
    return jnp.sum(jnp.where(seen, f1, 0)) / jnp.maximum(jnp.sum(seen), 1)


def macro_f1(predicted: Array, labels: Array, num_classes: int) -> Array:
    """Unweighted mean over classes of F1 = 2 tp / (2 tp + fp + fn).

    Args:
      predicted: [N] int, predicted classes.
      labels: [N] int.
      num_classes: C.

    Returns:
      [] over the classes that occur in the labels or the predictions, as scikit-learn.
    """
    return f1_of_confusion(confusion_matrix(predicted, labels, num_classes))


@wide
def calibration_error(logits: Array, labels: Array, *, bins: int = 15) -> Array:
    """Expected calibration error of the predicted class.

    sum_b n_b / N |accuracy_b - confidence_b| over equal bins of the confidence.

    Args:
      logits: [N, C] float.
      labels: [N] int.
      bins: number of bins on (0, 1].

    Returns:
      [] in [0, 1].

    Reference: Guo et al. 2017, arXiv 1706.04599, equation 3.
    """
    _require_same_rows("calibration_error", "logits", logits, labels)
    logits = jnp.asarray(logits).astype(wide_dtype())
    top = jnp.max(logits, axis=1, keepdims=True)
    confidence = 1 / jnp.sum(jnp.exp(logits - top), axis=1)
    right = first_argmax(logits) == jnp.asarray(labels)
    bin_of = jnp.clip(jnp.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gap = jnp.bincount(bin_of, weights=right - confidence, length=bins)
    return jnp.sum(jnp.abs(gap)) / logits.shape[0]


@wide
def negative_log_likelihood(logits: Array, labels: Array) -> Array:
    """Mean of -log softmax(logits)[label] over rows, in nats."""
    _require_same_rows("negative_log_likelihood", "logits", logits, labels)
    logits = jnp.asarray(logits).astype(wide_dtype())
    is_label = jnp.asarray(labels)[None, :] == jnp.arange(logits.shape[1])[:, None]
    return jnp.mean(margins(logits.T, is_label).loss)


def _require_same_rows(who: str, name: str, values: Any, labels: Any) -> None:
    rows, expected = np.shape(values)[0], np.shape(labels)[0]
    if rows != expected:
        raise ValueError(
            f"{who}: {name} and labels need the same rows, got {rows} and {expected}."
        )
    checks.require_rows(who, rows, 1, "a mean needs one")
