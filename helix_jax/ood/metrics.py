"""How well a score separates out-of-distribution rows; exact, even with ties.

Strange rows are out-of-distribution and should score higher than known rows, which are
in-distribution. All metrics depend only on the numbers of known and strange rows at
each distinct score, in descending order, from one sort of each side. They use numpy:
XLA's sort takes ten times as long on a CPU.

| name     | positive class | definition                                             |
|----------|----------------|--------------------------------------------------------|
| auroc    | either         | P(strange > known) + P(equal) / 2                      |
| aupr_out | strange        | average precision, sum of precision times recall gained|
| aupr_in  | known          | the same for the negated score                         |
| fpr95    | strange        | known rows flagged if 95% of the strange ones are      |
| fpr95_in | known          | strange rows passed if 95% of the known ones are       |

The `_trapezoid` forms interpolate the precision-recall curve linearly, as pytorch-ood
does, which is optimistic; auroc and fpr95 are as in pytorch-ood. Papers that take the
known rows as positive report fpr95_in as "FPR95".
"""

from typing import Any, NamedTuple

import numpy as np

from helix_jax import checks, numeric
from helix_jax.stats.exact import exact_fraction


class Counts(NamedTuple):
    """Rows at each of T distinct scores, descending.

    Attributes:
      scores: [T] the distinct scores.
      known: [..., T] number, or weight, of known rows with this score.
      strange: [..., T] of strange rows.
    """

    scores: np.ndarray
    known: np.ndarray
    strange: np.ndarray


class DetectionMetrics(NamedTuple):
    """See the top of this file; each [...] float64."""

    auroc: Any
    aupr_in: Any
    aupr_out: Any
    fpr95: Any
    fpr95_in: Any
    aupr_in_trapezoid: Any
    aupr_out_trapezoid: Any


def detection_metrics(
    known: Any, strange: Any, *, rate: float = 0.95
) -> DetectionMetrics:
    """All metrics, from the scores of known and strange rows.

    Args:
      known: [N] float, scores of in-distribution rows.
      strange: [M] float, scores of out-of-distribution rows.
      rate: true positive rate of the two fpr metrics.

    Returns:
      DetectionMetrics of numbers.

    Raises:
      ValueError: one side is empty, not a vector, or holds NaN; infinity is allowed.

    Reference: Fawcett 2006, "An introduction to ROC analysis", algorithm 1; Davis and
      Goadrich 2006 (why not to interpolate precision linearly).
    """
    counts = count_scores(known, strange)
    metrics = metrics_of_counts(counts.known, counts.strange, rate=rate)
    return DetectionMetrics(*map(float, metrics))


def count_scores(known: Any, strange: Any) -> Counts:
    """Count known and strange rows at each distinct score, int64, descending.

    Args:
      known: [N] float.
      strange: [M] float.

    Returns:
      Counts.

    Raises:
      ValueError: as `detection_metrics`.
    """
    _require_no_labels(known, strange)
    known = np.sort(_scores("known", known))
    strange = np.sort(_scores("strange", strange))
    both = np.concatenate([known, strange])
    both.sort()
    first = np.concatenate([[True], both[1:] != both[:-1]])
    scores = both[first]
    below = np.flatnonzero(first)  # rows of either side below each score
    known_below = np.searchsorted(known, scores, side="left")
    per_score = np.diff(below, append=len(both))
    known_counts = np.diff(known_below, append=len(known))
    return Counts(scores[::-1], known_counts[::-1], (per_score - known_counts)[::-1])


def roc_points(known: Any, strange: Any, *, most: int | None = None) -> np.ndarray:
    """Corners of the ROC curve, with strange rows as the positive class.

    The curve has a point for each distinct score, so rows with equal scores form a
    slanted segment; points on a straight line between two others are left out.

    Args:
      known: [N] float, scores of in-distribution rows.
      strange: [M] float, scores of out-of-distribution rows.
      most: corners to keep at most, spread evenly along the curve; None keeps all.

    Returns:
      [P, 2] float64, the shares of known and strange rows that are flagged, from (0, 0)
      to (1, 1).

    Raises:
      ValueError: as `detection_metrics`, or `most` below 2.

    Reference: Fawcett 2006, "An introduction to ROC analysis", algorithm 1.
    """
    if most is not None and most < 2:
        raise ValueError(f"roc_points: most must be 2 or more, got {most}.")
    counts = count_scores(known, strange)
    steps = np.stack([counts.known, counts.strange], axis=1)
    flagged = np.concatenate([[[0, 0]], np.cumsum(steps, axis=0)])
    turns = steps[1:, 0] * steps[:-1, 1] != steps[:-1, 0] * steps[1:, 1]
    points = flagged[np.concatenate([[True], turns, [True]])] / flagged[-1]
    if most is None or len(points) <= most:
        return points
    wanted = np.linspace(0, 2, most)  # path length: the sum of both shares, up to 2
    places = np.searchsorted(points.sum(axis=1), wanted)
    return points[np.unique(places.clip(max=len(points) - 1))]


def metrics_of_counts(
    known: np.ndarray, strange: np.ndarray, *, rate: float = 0.95
) -> DetectionMetrics:
    """Metrics from the rows at each distinct score.

    Args:
      known: [..., T] counts or weights, in order of descending scores; not all zero.
      strange: [..., T].
      rate: true positive rate of the two fpr metrics.

    Returns:
      DetectionMetrics of [...] arrays.

    Raises:
      TypeError, ValueError: not numbers of the same shape, negative, NaN, or all zero.
    """
    if not 0 < rate <= 1 + 1e-12:
        raise ValueError(
            f"metrics_of_counts: rate needs to be a share in (0, 1], got {rate}."
        )
    known, strange = (
        _weights(name, z) for name, z in (("known", known), ("strange", strange))
    )
    checks.require_shape("metrics_of_counts", "strange", strange, known.shape)
    flagged_known, flagged = np.cumsum(known, -1), np.cumsum(strange, -1)
    all_known, all_strange = flagged_known[..., -1:], flagged[..., -1:]
    passed_known = all_known - flagged_known + known
    passed = all_strange - flagged + strange
    pairs = np.sum(strange * (2.0 * (all_known - flagged_known) + known), axis=-1)
    out, out_lines = _precision(strange, flagged, flagged_known)
    # Negating the score reverses the order.
    flip = (..., slice(None, None, -1))
    inside, inside_lines = _precision(known[flip], passed_known[flip], passed[flip])
    return DetectionMetrics(
        pairs / (2.0 * all_known[..., 0] * all_strange[..., 0]),
        inside,
        out,
        _rate_at(flagged / all_strange, flagged_known / all_known, rate),
        _rate_at((passed_known / all_known)[flip], (passed / all_strange)[flip], rate),
        inside_lines,
        out_lines,
    )


def _precision(
    gained: np.ndarray, right: np.ndarray, wrong: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Average precision, and the area under the linearly interpolated curve."""
    total = right[..., -1]
    flagged = right + wrong
    precision = right / np.where(flagged > 0, flagged, 1)
    # A resample may have no rows at the first scores; the curve starts at precision 1.
    precision = np.where(flagged > 0, precision, 1.0)
    average = np.sum(gained * precision, -1) / total
    before = np.concatenate([np.ones_like(precision[..., :1]), precision[..., :-1]], -1)
    return average, np.sum(gained * (precision + before), -1) / (2 * total)


def _rate_at(true_rate: np.ndarray, false_rate: np.ndarray, rate: float) -> np.ndarray:
    """The false rate at the first threshold whose true rate is `rate` or more.

    Computed rates, such as 3 * 0.3, and float32 ones may be off by rounding.
    """
    least = float(exact_fraction(rate)) * (1 - 1e-12)
    place = np.argmax(true_rate >= least, axis=-1)
    return np.take_along_axis(false_rate, place[..., None], axis=-1)[..., 0]


def _scores(name: str, values: Any) -> np.ndarray:
    values = np.asarray(numeric.numbers("detection_metrics", name, values))
    if values.ndim != 1 or not values.size:
        raise ValueError(
            f"detection_metrics: {name} needs one score for each of one or more rows, "
            f"got shape {list(values.shape)}."
        )
    checks.require_not_nan("detection_metrics", name, values)
    return values


def _require_no_labels(known: Any, strange: Any) -> None:
    """Refuse (labels, scores) of the same rows, the arguments of other libraries."""
    first, second = np.asarray(known), np.asarray(strange)
    if first.shape != second.shape or second.dtype.kind != "f":
        return
    truths = first.dtype.kind in "iu" and np.array_equal(np.unique(first), [0, 1])
    if first.dtype.kind == "b" or truths:
        raise ValueError(
            "detection_metrics: needs the scores of known rows and those of strange "
            "rows, got zeros and ones, like labels, for known. With labels and scores, "
            "pass scores[labels == 0], scores[labels == 1]."
        )


def _weights(name: str, values: Any) -> np.ndarray:
    values = numeric.numbers("metrics_of_counts", name, values)
    values = np.asarray(values, np.float64)
    if not (values.min(initial=0) >= 0 and values.sum(-1).all() and values.ndim):
        raise ValueError(
            f"metrics_of_counts: {name} needs counts or weights that are not negative "
            "and not all zero."
        )
    return values
