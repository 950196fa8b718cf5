"""Scores of a classifier: accuracy, macro F1, calibration, negative log-likelihood.

Labels and predicted classes are whole numbers of any dtype, including bool; they are
widened before anything is counted. Values are checked where they are concrete. In a
caller's jit, a label out of range gives NaN in the metrics that need its class.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from helix_jax import checks, kinds, numeric
from helix_jax.arguments import takes
from helix_jax.linalg import first_argmax, wide, wide_dtype
from helix_jax.probes.objective import margins
from helix_jax.types import Array


@wide
def accuracy(predicted: Array, labels: Array) -> Array:
    """Share of rows whose predicted class [N] int is their label [N] int.

    Raises:
      TypeError, ValueError: not whole numbers, negative, or of different lengths.
    """
    predicted, labels = _classes("accuracy", predicted, labels)
    return jnp.mean(predicted == labels, dtype=wide_dtype())


@takes(num_classes=kinds.COUNT)
@wide
def confusion_matrix(predicted: Array, labels: Array, num_classes: int) -> Array:
    """[C, C] counts: rows are labels, columns are predicted classes.

    Raises:
      TypeError, ValueError: as `accuracy`, or a class that is not below `num_classes`.
    """
    predicted, labels = _classes("confusion_matrix", predicted, labels, num_classes)
    known = (jnp.minimum(labels, predicted) >= 0) & (
        jnp.maximum(labels, predicted) < num_classes
    )
    cells = jnp.where(known, labels * num_classes + predicted, num_classes**2)
    counts = jnp.bincount(cells, length=num_classes**2)
    return counts.reshape(num_classes, num_classes)


@wide
def f1_of_confusion(confusion: Array) -> Array:
    """Macro F1 from a confusion matrix [C, C], over the classes that `macro_f1` names.

    Raises:
      TypeError, ValueError: not a square matrix of numbers.
    """
    confusion = numeric.numbers("f1_of_confusion", "confusion", confusion, rank=2)
    checks.require_shape(
        "f1_of_confusion", "confusion", confusion, (len(confusion),) * 2
    )
    if checks.is_concrete(confusion) and not np.all(np.asarray(confusion) >= 0):
        raise ValueError(
            "f1_of_confusion: confusion needs counts, got negative numbers or NaN."
        )
    confusion = jnp.asarray(confusion, wide_dtype())
    both = jnp.sum(confusion, axis=0) + jnp.sum(confusion, axis=1)
    seen = both > 0
    f1 = 2 * jnp.diagonal(confusion) / jnp.where(seen, both, 1)
    return jnp.sum(jnp.where(seen, f1, 0)) / jnp.maximum(jnp.sum(seen), 1)


@takes(num_classes=kinds.COUNT)
@wide
def macro_f1(predicted: Array, labels: Array, num_classes: int) -> Array:
    """Unweighted mean over classes of F1 = 2 tp / (2 tp + fp + fn).

    Args:
      predicted: [N] int, predicted classes.
      labels: [N] int.
      num_classes: C.

    Returns:
      [] mean over the classes that occur in labels or predictions, as in scikit-learn.

    Raises:
      TypeError, ValueError: as `confusion_matrix`.
    """
    confusion = confusion_matrix(predicted, labels, num_classes)
    complete = jnp.sum(confusion) == np.shape(labels)[0]
    return jnp.where(complete, f1_of_confusion(confusion), jnp.nan)


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

    Raises:
      TypeError, ValueError: not one logit per class, NaN, labels that are not whole
        numbers in [0, C), no rows, or fewer than one bin.

    Reference: Guo et al. 2017, arXiv 1706.04599, equation 3.
    """
    logits, labels = _logits("calibration_error", logits, labels)
    if bins < 1:
        raise ValueError(f"calibration_error: bins need to be 1 or more, got {bins}.")
    top = jnp.max(logits, axis=1, keepdims=True)
    confidence = 1 / jnp.sum(jnp.exp(logits - top), axis=1)
    right = first_argmax(logits) == labels
    bin_of = jnp.clip(jnp.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gap = jnp.bincount(bin_of, weights=right - confidence, length=bins)
    return jnp.sum(jnp.abs(gap)) / logits.shape[0]


@wide
def negative_log_likelihood(logits: Array, labels: Array) -> Array:
    """Mean of -log softmax(logits)[label] over rows, in nats.

    Args:
      logits: [N, C] float.
      labels: [N] int.

    Raises:
      TypeError, ValueError: as `calibration_error`.
    """
    logits, labels = _logits("negative_log_likelihood", logits, labels)
    is_label = labels[None, :] == jnp.arange(logits.shape[1])[:, None]
    loss = margins(logits.T, is_label).loss
    return jnp.mean(jnp.where(jnp.any(is_label, axis=0), loss, jnp.nan))


def _classes(
    who: str, predicted: Any, labels: Any, below: int | None = None
) -> tuple[Array, Array]:
    """Predicted classes and labels as the widest integers, with the same rows."""
    rows = checks.same_rows(who, predicted=predicted, labels=labels)
    return tuple(
        jnp.asarray(numeric.whole_numbers(who, name, values, rows=rows, below=below))
        for name, values in (("predicted", predicted), ("labels", labels))
    )


def _logits(who: str, logits: Any, labels: Any) -> tuple[Array, Array]:
    """Logits [N, C] in the widest float, labels [N] in the widest integer."""
    rows = checks.same_rows(who, logits=logits, labels=labels)
    logits = numeric.numbers(who, "logits", logits, rank=2)
    checks.require_not_nan(who, "logits", logits)
    labels = numeric.whole_numbers(
        who, "labels", labels, rows=rows, below=logits.shape[1]
    )
    return jnp.asarray(logits, wide_dtype()), jnp.asarray(labels)
