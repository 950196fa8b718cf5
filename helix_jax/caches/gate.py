"""Whether a map of caches can be trusted, by signals of the select split.

    gate/select_r2               of keys and values, the mean over target layers
    gate/select_cosine           of attention outputs with the native ones, likewise
    gate/select_cosine_least     of the worst layer
    gate/select_agreement        of first choices, teacher-forced
    gate/select_retention        as in `measures`

Which of them predicts the retention of the test split over pairs of models is measured
by Spearman's correlation, with models resampled, and compared with that of R2 on the
same resamples.
"""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from helix_jax.caches.arms import ArmRows
from helix_jax.caches.fit import FittedCacheMap
from helix_jax.caches.measures import continuation_numbers
from helix_jax.stats import Interval, bootstrap_interval, estimate_of, rank_correlations

SIGNALS = (
    "select_r2",
    "select_r2_keys",
    "select_r2_values",
    "select_cosine",
    "select_cosine_least",
    "select_agreement",
    "select_retention",
)


def arm_numbers(scored: ArmRows, *, resamples: int) -> dict[str, float | Interval]:
    """caches/MEASURE_ARM of every arm, including attention."""
    numbers = continuation_numbers(scored.rows, resamples=resamples)
    for arm, cosines in scored.cosines.items():
        numbers[f"caches/attention_cosine_{arm}"] = bootstrap_interval(
            cosines.mean(1), scored.rows.documents, resamples=resamples
        )
    return numbers


def calibration_numbers(
    fitted: Mapping[str, FittedCacheMap], scored: ArmRows
) -> dict[str, float]:
    """gate/SIGNAL_ARM of every fitted map; see the top of this file.

    Args:
      fitted: arm -> map with its scores on the select split.
      scored: of the select split.
    """
    found = continuation_numbers(scored.rows, resamples=1)
    numbers: dict[str, float] = {}
    for arm, one in fitted.items():
        own = (
            one.mean_r2,
            float(one.r2["keys"].mean()),
            float(one.r2["values"].mean()),
            float(scored.cosines[arm].mean()),
            float(scored.cosines[arm].mean(0).min()),
            estimate_of(found[f"caches/agreement_top1_{arm}"]),
            estimate_of(found[f"caches/retention_{arm}"]),
        )
        numbers |= {f"gate/{name}_{arm}": v for name, v in zip(SIGNALS, own)}
    return numbers


def gate_correlations(
    signals: Mapping[str, Sequence[float]],
    retention: Sequence[float],
    pairs: Sequence[tuple[Hashable, Hashable]],
    *,
    against: str = "select_r2",
    resamples: int = 2000,
) -> dict[str, Interval]:
    """Spearman's correlation of each signal with retention over pairs of models.

    Args:
      signals: name -> [P], of each pair.
      retention: [P] of the test split.
      pairs: [P] source and target of each.
      against: the signal that the others are compared with.
      resamples: of models.

    Returns:
      name -> correlation, and name + "_over_" + against -> the difference.
    """
    names = list(signals)
    return rank_correlations(
        {name: np.asarray(signals[name], float) for name in names},
        np.asarray(retention, float),
        pairs,
        against=against,
        resamples=resamples,
    )
