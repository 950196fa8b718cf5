"""Bootstrap intervals of detection metrics over documents, and DeLong's standard error.

Known (in-distribution) and strange (out-of-distribution) rows come from two corpora, so
each side's documents are resampled separately; a row counts as often as its document
is drawn. Scores are sorted once: a resample is a weighted count at each distinct score.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from helix_jax import kinds, numeric
from helix_jax.arguments import takes
from helix_jax.ood.metrics import (
    DetectionMetrics,
    count_scores,
    detection_metrics,
    metrics_of_counts,
)
from helix_jax.stats import Interval, bootstrap_counts
from helix_jax.stats.bootstrap import require_resamples
from helix_jax.stats.documents import document_codes
from helix_jax.types import Array

_CELLS_AT_ONCE = 2_000_000


@takes(key=kinds.KEY)
def detection_intervals(
    known: Any,
    strange: Any,
    known_documents: Sequence[str] | np.ndarray,
    strange_documents: Sequence[str] | np.ndarray,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    key: Array | None = None,
) -> dict[str, Interval]:
    """Every metric of `detection_metrics` with its bootstrap interval.

    Args:
      known: [N] float, scores of in-distribution rows.
      strange: [M] float, scores of out-of-distribution rows.
      known_documents: [N] document of each row.
      strange_documents: [M].
      resamples: R.
      level: share of resamples inside the interval.
      key: jax.random key; None is jax.random.key(0).

    Returns:
      name -> Interval of floats (percentiles).

    Raises:
      ValueError: rows and documents differ in number, fewer than two documents on a
        side, a level outside (0, 1), no resamples, or as `detection_metrics`.

    Reference: Efron and Tibshirani 1993, section 13.3; documents as units: Davison and
      Hinkley 1997, section 3.8.
    """
    require_resamples("detection_intervals", resamples, level)
    known, strange = (
        numeric.numbers("detection_intervals", name, side)
        for name, side in (("known", known), ("strange", strange))
    )
    scores = count_scores(known, strange).scores
    (known_codes, known_count), (strange_codes, strange_count) = (
        _codes(name, side, documents)
        for name, side, documents in (
            ("known", known, known_documents),
            ("strange", strange, strange_documents),
        )
    )
    known_places, strange_places = (
        np.searchsorted(-scores, -np.asarray(side)) for side in (known, strange)
    )

    def metrics(
        known_counts: np.ndarray, strange_counts: np.ndarray
    ) -> DetectionMetrics:
        return metrics_of_counts(
            _at_scores(known_counts[:, known_codes], known_places, len(scores)),
            _at_scores(strange_counts[:, strange_codes], strange_places, len(scores)),
        )

    key = jax.random.key(0) if key is None else key
    intervals = bootstrap_counts(
        metrics,
        (known_count, strange_count),
        chance=np.random.default_rng(np.asarray(jax.random.key_data(key))),
        resamples=resamples,
        level=level,
        at_once=max(1, _CELLS_AT_ONCE // len(scores)),
    )
    return dict(zip(DetectionMetrics._fields, intervals, strict=True))


def auroc_standard_error(known: Any, strange: Any) -> float:
    """DeLong's standard error of AUROC, for independent rows.

    With v_i the share of known rows below strange row i (ties count half) and u_j the
    share of strange rows above known row j: var(v) / M + var(u) / N.

    Args:
      known: [N] float, at least 2.
      strange: [M] float, at least 2.

    Returns:
      The standard error.

    Raises:
      ValueError: fewer than two rows on a side, or as `detection_metrics`.

    Reference: DeLong, DeLong, Clarke-Pearson 1988; by sorting: Sun and Xu 2014.
    """
    known, strange = (
        np.asarray(numeric.numbers("auroc_standard_error", name, side))
        for name, side in (("known", known), ("strange", strange))
    )
    detection_metrics(known, strange)
    if min(len(known), len(strange)) < 2:
        raise ValueError(
            "auroc_standard_error: needs two rows or more on each side, got "
            f"{len(known)} and {len(strange)}."
        )

    def share_below(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        others = np.sort(others)
        left, right = (
            np.searchsorted(others, rows, side) for side in ("left", "right")
        )
        return (left + right) / (2 * len(others))

    return float(
        np.sqrt(
            np.var(share_below(strange, known), ddof=1) / len(strange)
            + np.var(share_below(known, strange), ddof=1) / len(known)
        )
    )


def _codes(name: str, side: Any, documents: Any) -> tuple[np.ndarray, int]:
    codes, count = document_codes(
        "detection_intervals", documents, len(side), of=f"{name} rows"
    )
    if count < 2:
        raise ValueError(
            f"detection_intervals: the {name} rows are of {count} document; needs "
            "two or more. Check the ids, or the split."
        )
    return codes, count


def _at_scores(weights: np.ndarray, places: np.ndarray, count: int) -> np.ndarray:
    """[R, T] sums of weights [R, N] over the rows [N] at each of T scores."""
    return np.stack([np.bincount(places, row, count) for row in weights])
