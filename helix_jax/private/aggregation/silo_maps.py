"""What silos gain from a sum of their moments, or of predictions, and its cost."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from helix_jax.alignment import (
    AffineMap,
    FitResult,
    Moments,
    accumulate,
    evaluate_map,
    fit_ridge,
    merge_all,
    ridge_at,
    select_penalty,
)
from helix_jax.private.aggregation.fixed_point import MomentsFormat
from helix_jax.private.aggregation.rehearsal import rehearse_moments
from helix_jax.private.rehearsal import rehearse_sum
from helix_jax.stats import relative_error


class SiloMoments(NamedTuple):
    """Moments of paired rows that are divided among silos.

    Attributes:
      silos: the moments of each silo's rows; the last silos leave.
      kept: how many silos stay.
      pooled: the moments of all rows of the silos that stay.
      select, test: the moments of held-out rows of all silos.
      rows: x [n, dx] and y [n, dy] of each silo, for sums with differential privacy.
      public: x and y of further rows of all silos, the public reference of those sums.
    """

    silos: Sequence[Moments]
    kept: int
    pooled: Moments
    select: Moments
    test: Moments
    rows: Sequence[tuple[np.ndarray, np.ndarray]] = ()
    public: tuple[np.ndarray, ...] = ()

    def maps_alone(self) -> list[AffineMap]:
        """The ridge map of each remaining silo alone."""
        return [
            select_penalty(fit_ridge(moments), self.select).fit.map
            for moments in self.silos[: self.kept]
        ]


def planted_silos(
    *, silos: int, kept: int, rows: int, widths: tuple[int, int], seed: int = 0
) -> SiloMoments:
    """y = x W + noise with the same W, but another spectrum of x, in every silo.

    Args:
      silos: how many there are.
      kept: how many of them stay.
      rows: of each silo; each held-out set has about as many from all silos together.
      widths: dx and dy.
      seed: of all random numbers.
    """
    rng = np.random.default_rng(seed)
    dx, dy = widths
    kernel = rng.normal(size=widths) / np.sqrt(dx)
    spectra = [rng.permutation(np.logspace(0, -3, dx)) for _ in range(silos)]
    means = rng.normal(size=(silos, dx))

    def draw(silo: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
        x = means[silo] + rng.normal(size=(rows, dx)) * spectra[silo]
        return x, x @ kernel + 0.1 * rng.normal(size=(rows, dy))

    fit = [draw(silo, rows) for silo in range(silos)]
    held_out = -(-rows // silos)
    select, test = (
        accumulate(draw(silo, held_out) for silo in range(silos)) for _ in range(2)
    )
    each = [accumulate([pair]) for pair in fit]
    others = zip(*(draw(silo, held_out) for silo in range(silos)))
    public = tuple(np.concatenate(side) for side in others)
    return SiloMoments(each, kept, accumulate(fit[:kept]), select, test, fit, public)


def sum_silos(
    data: SiloMoments, *, threshold: int | None = None, value_bits: int
) -> tuple[Moments, dict[str, float]]:
    """Sum the moments of the silos that stay under masks, and measure the cost.

    Args:
      data: of the silos.
      threshold: silos that must stay; None for `default_threshold`.
      value_bits: public bound, as in `MomentsFormat`.

    Returns:
      (the summed moments, measurements by name).

    Raises:
      ProtocolError, ValueError: as in `rehearse_moments`.
    """
    count = len(data.silos)
    dx, dy = data.pooled.cov_xy.shape
    layout = MomentsFormat(dx, dy, count, value_bits=value_bits)
    leaves = {silo: "mask" for silo in range(data.kept + 1, count + 1)}
    summed = rehearse_moments(data.silos, layout, threshold=threshold, leaves=leaves)
    clear = merge_all(data.silos[: data.kept])
    return summed.moments, {
        "equal_to_clear_sum": float(summed.equal_to_clear_sum),
        "survivors": len(summed.cost.survivors),
        "rows": int(summed.moments.count),
        "test_rows": int(data.test.count),
        "vector_length": layout.length,
        "fraction_bits": layout.fraction_bits,
        "upload_bytes": max(summed.cost.upload_bytes.values()),
        "silo_seconds": summed.silo_seconds,
        "aggregator_seconds": summed.cost.aggregator_seconds,
        "moments_relative_error": max(map(relative_error, summed.moments, clear)),
    }


def map_errors(
    of_sum: FitResult, alone: Sequence[AffineMap], data: SiloMoments
) -> dict[str, float]:
    """Compare the map of the sum with those of pooled rows and of single silos.

    Args:
      of_sum: ridge on the sum.
      alone: from `SiloMoments.maps_alone`.
      data: of the silos.

    Returns:
      relative_error of the kernel to that of pooled rows, and fractions of the variance
      that maps leave unexplained on held-out rows: all_silos_error, single_silo_error
      (mean) and single_silo_error_least (the smallest).
    """
    path = fit_ridge(data.pooled, penalties=[float(of_sum.penalty)])
    pooled = ridge_at(path, 0).map
    errors = [1 - float(evaluate_map(single, data.test).r2) for single in alone]
    return {
        "relative_error": relative_error(of_sum.map.kernel, pooled.kernel),
        "all_silos_error": 1 - float(evaluate_map(of_sum.map, data.test).r2),
        "single_silo_error": float(np.mean(errors)),
        "single_silo_error_least": min(errors),
    }


def prediction_errors(
    maps: Sequence[AffineMap], test: Moments, *, seed: int
) -> dict[str, float]:
    """Errors and cost of the silos' mean prediction for a client, under encryption.

    Each silo answers the queries with its own map, divided by the number of silos, and
    sends its answer to an aggregator that adds them. The client sees no silo's own
    prediction.

    Args:
      maps: one per silo.
      test: moments; 8 Gaussian queries are drawn with their mean and variances.
      seed: of the queries.
    """
    count = len(maps)
    shares = jax.tree.map(lambda part: np.asarray(part) / count, list(maps))
    spread = np.sqrt(np.diag(np.asarray(test.cov_xx, np.float64)))
    noise = np.random.default_rng(seed).normal(size=(8, len(spread)))
    x = np.asarray(test.mean_x) + spread * noise
    summed = rehearse_sum(shares, x)
    clear = [x @ share.kernel + share.bias for share in shares]
    mean = sum(clear)
    error, gap = (
        np.abs(results - mean).max() / np.abs(mean).max()
        for results in (summed.results, count * clear[0])
    )
    return {
        "predictions_relative_error": error,
        "predictions_single_silo_gap": gap,  # from one silo's predictions to the mean
        "predictions_upload_bytes": summed.answer_bytes,
        "predictions_aggregator_seconds": summed.seconds,
    }
