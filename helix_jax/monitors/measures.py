"""Numbers with intervals of monitors and of steering; documents are resampled.

monitor_auroc    P(score of a text of the class > that of another)
effect           mean change of a reading under an edit, against none
effect_ratio     an edit's effect over another one's, such as the native direction's
"""

from collections.abc import Sequence

import numpy as np

from helix_jax.ood import detection_intervals
from helix_jax.stats import Interval, bootstrap_statistic, paired_interval
from helix_jax.types import Array


def score_auroc(
    scores: Array, labels: Array, documents: Sequence[str], *, resamples: int = 1000
) -> Interval:
    """AUROC of scores, with its interval over documents of each side.

    Args:
      scores: [N] float, higher for the class.
      labels: [N] bool or 0 and 1.
      documents: [N] document of each text.
      resamples: of the bootstrap.

    Raises:
      ValueError: NaN, or fewer than two documents on a side.
    """
    scores, of_class = np.asarray(scores, np.float64), np.asarray(labels).astype(bool)
    names = np.asarray(documents)
    return detection_intervals(
        scores[~of_class],
        scores[of_class],
        names[~of_class],
        names[of_class],
        resamples=resamples,
    )["auroc"]


def effect(
    changed: Array, before: Array, documents: Sequence[str], *, resamples: int = 1000
) -> Interval:
    """Mean of changed - before over texts.

    Args:
      changed: [G] or [G, P] float, a reading of each text, at P places.
      before: the same without the edit.
      documents: [G].
      resamples: of the paired bootstrap over documents.
    """
    changed, before = (_by_text(one) for one in (changed, before))
    return paired_interval(changed, before, documents, resamples=resamples)


def effect_ratio(
    changed: Array,
    reference: Array,
    before: Array,
    documents: Sequence[str],
    *,
    resamples: int = 1000,
) -> Interval:
    """mean(changed - before) / mean(reference - before), as in `effect`.

    Near 0 / 0 it says nothing: read it beside the reference's own interval.
    """
    changed, reference, before = map(_by_text, (changed, reference, before))
    rows = np.stack([changed - before, reference - before], axis=1)
    return bootstrap_statistic(rows, documents, _ratio, resamples=resamples)


def _ratio(sums: Array) -> Array:
    return sums[0] / sums[1]


def _by_text(values: Array) -> np.ndarray:
    values = np.asarray(values, np.float64)
    return values.reshape(len(values), -1).mean(axis=1)
