"""Infer whether a row was among those that a map was fitted on.

The adversary sees one map, knows a candidate's row (x, y) in both spaces, and owns
other rows of the same kind, on which it fits shadow maps. Residuals r = y - x W - b:

    loss          log |r|^2 of the target map, as a log-likelihood ratio of normals
                  about the means that shadow maps with and without the row have
    likelihood    -mu' S^-1 (r - mu), mu the row's mean residual over shadow maps, S the
                  covariance of residuals

The second is the likelihood ratio itself, to first order in the leverage h of the row:
including the row in least squares moves its residual from r to (1 - h) r, and the other
rows move it by normal noise of covariance h S. Members and others are
sqrt(h r' S^-1 r) standard deviations apart, on average

    sqrt(d_x d_y / n),

so what counts is how many parameters a map has per fitted row. Here, as is usual,
members are a random half of a pool that the adversary knows; noise then comes only from
the choice of the half and has half the variance, and the distance is
sqrt(2 d_x d_y / n).

Reference: Carlini et al. 2022, arXiv 2112.03570, section 5 (loss); Dwork et al. 2015,
  "Robust traceability from trace amounts", for released means; the second score: ours.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats

from helix_jax import checks, numeric
from helix_jax.alignment import AffineMap, fit_ridge, from_batch, ridge_at
from helix_jax.stats import Interval, bootstrap_counts


class Roc(NamedTuple):
    """How well scores separate members from others.

    Attributes:
      auc: area under the curve; 0.5 is chance.
      tpr: requested false positive rate, which is chance level -> true positive rate.
      trials: number of decisions.
    """

    auc: Interval
    tpr: dict[float, Interval]
    trials: int


def draw_members(rows: int, maps: int, *, rng: np.random.Generator) -> np.ndarray:
    """[S, M] bool: for each of S maps a random half of M rows."""
    half = np.arange(rows) < rows // 2
    return np.stack([rng.permutation(half) for _ in range(maps)])


def shadow_residuals(
    x: np.ndarray, y: np.ndarray, members: np.ndarray, *, penalty: float
) -> np.ndarray:
    """Residuals of every row under ridge maps that were fitted on their members.

    Args:
      x: [M, d_x] float.
      y: [M, d_y] float.
      members: [S, M] bool, the same number of rows in each.
      penalty: of `fit_ridge`, relative.

    Returns:
      [S, M, d_y] float32.
    """

    def fit(x: np.ndarray, y: np.ndarray) -> AffineMap:
        path = fit_ridge(from_batch(x, y), penalties=[penalty])
        return ridge_at(path, 0).map

    return residuals_of(fit, x, y, members)


def residuals_of(
    fit: Callable[[np.ndarray, np.ndarray], AffineMap],
    x: np.ndarray,
    y: np.ndarray,
    members: np.ndarray,
) -> np.ndarray:
    """Residuals of every row under the maps that `fit` makes of the members' rows."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    members = _truths("residuals_of", members, (len(members), len(x)))
    residuals = np.empty((*members.shape, y.shape[1]), np.float32)
    for number, fitted in enumerate(members):
        affine = fit(x[fitted], y[fitted])
        residuals[number] = y - x @ np.asarray(affine.kernel) - np.asarray(affine.bias)
    return residuals


def loss_scores(residuals: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Likelihood ratios of losses, [S, M]; each map is attacked with the others."""
    members = _truths("loss_scores", members, residuals.shape[:2])
    losses = np.log(np.sum(residuals.astype(np.float64) ** 2, axis=2) + 1e-300)
    means = []
    for alike in (members, ~members):
        # Without the target map itself.
        count = alike.sum(axis=0) - alike
        means.append(
            ((losses * alike).sum(axis=0) - losses * alike) / np.maximum(count, 1)
        )
    spread = np.std(losses - np.where(members, *means))
    inside, outside = ((losses - mean) ** 2 for mean in means)
    return (outside - inside) / (2 * spread**2)


def likelihood_scores(residuals: np.ndarray) -> np.ndarray:
    """Likelihood ratios of residuals, [S, M]; each map is attacked with the others."""
    maps = len(residuals)
    total = residuals.sum(axis=0, dtype=np.float64)
    mean = total / maps
    covariance = mean.T @ mean / len(mean)
    covariance += (
        1e-9 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    )
    inverse = np.linalg.inv(covariance)
    scores = np.empty(residuals.shape[:2])
    for number, residual in enumerate(residuals):
        others = (total - residual) / (maps - 1)
        scores[number] = -np.sum(others @ inverse * (residual - others), axis=1)
    return scores


def roc(
    scores: np.ndarray,
    members: np.ndarray,
    *,
    rng: np.random.Generator,
    rates: tuple[float, ...] = (0.01, 0.001),
    resamples: int = 200,
) -> Roc:
    """Area and true positive rates, with 95% intervals from resampling rows.

    Args:
      scores: [S, M], higher for likelier members.
      members: [S, M] bool.
      rng: for the bootstrap; a row is drawn with all its S scores.
      rates: false positive rates.
      resamples: of the bootstrap.

    Returns:
      Roc.
    """
    scores = np.asarray(numeric.numbers("roc", "scores", scores, rank=2))
    checks.require_not_nan("roc", "scores", scores)
    members = _truths("roc", members, scores.shape)
    order = np.argsort(-scores, axis=None, kind="stable")
    row = np.broadcast_to(np.arange(scores.shape[1]), scores.shape).reshape(-1)[order]
    inside = members.reshape(-1)[order].astype(np.float64)

    def areas_and_rates(counts: np.ndarray) -> list[np.ndarray]:
        found = [_roc_of(weight[row], inside, rates) for weight in counts]
        return list(np.transpose(found))

    area, *tpr = bootstrap_counts(
        areas_and_rates, [scores.shape[1]], chance=rng, resamples=resamples
    )
    return Roc(area, dict(zip(rates, tpr)), scores.size)


def _roc_of(
    weight: np.ndarray, inside: np.ndarray, rates: tuple[float, ...]
) -> list[float]:
    """Area, and true positive rates, of decisions [T] from the highest score down."""
    hits, alarms = np.cumsum(weight * inside), np.cumsum(weight * (1 - inside))
    hits, alarms = hits / hits[-1], alarms / alarms[-1]
    area = np.sum(np.diff(alarms, prepend=0.0) * hits)
    places = [np.searchsorted(alarms, rate, side="right") - 1 for rate in rates]
    return [area, *(hits[place] if place >= 0 else 0.0 for place in places)]


def _truths(who: str, members: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Members as bool [S, M]: integers would index rows, and `~` would not negate."""
    checks.require_shape(who, "members", members, shape)
    flat = np.asarray(members).reshape(-1)
    return numeric.whole_numbers(who, "members", flat, below=2).reshape(shape) > 0


def expected_auc(x_width: int, y_width: int, rows: int) -> float:
    """Expected AUC of `likelihood_scores` for n members of a known pool of 2 n."""
    return float(stats.norm.cdf(np.sqrt(x_width * y_width / rows)))
