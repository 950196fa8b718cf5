"""How close mapped rows are to the target's own: calibration and evaluation.

The rows of a split that the map was not fitted on are halved by document. On one half,
the cosine of a row is regressed on cheap features. On the other half, the errors of
that regression are kept: their quantiles are the margins of the bound.

Reference: see `helix_jax.map_confidence`, which computes both for new rows.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from helix_jax import checks, kinds
from helix_jax.alignment.map_files import as_numpy
from helix_jax.alignment.maps import StateMap
from helix_jax.alignment.moments import Moments
from helix_jax.arguments import takes
from helix_jax.linalg import Spectrum, spectrum_of
from helix_jax.map_confidence import COSINES, Confidence, Regression, features
from helix_jax.stats import Interval, bootstrap_statistic
from helix_jax.types import Array

DIRECTIONS = 16
LEAST_ROWS = 20  # in each half: enough for a bound at coverage 0.9, with room
_PENALTY = 1e-2  # of the regression, for terms of variance one
_MAIN, _LEAST_REST = 0.95, 1e-4  # shares of the variance on and off the directions
_MOST = 1 - 1e-6  # of a cosine, so that atanh is finite


@takes(map=kinds.MAP, moments=kinds.MOMENTS, rows=kinds.TWO_SIDES)
def fit_confidence(
    map: StateMap,
    moments: Moments,
    rows: tuple[Array, Array],
    documents: Sequence[Any],
    *,
    constant: bool = False,
) -> Confidence:
    """Calibrate the confidence of a map's rows.

    Args:
      map: from dx to dy.
      moments: of the rows that it was fitted on.
      rows: x [N, dx] and y [N, dy] of held-out rows, such as those of the select split.
      documents: [N] document of each row.
      constant: fit the control, which predicts the same for every row.

    Returns:
      Confidence.

    Raises:
      ValueError: the numbers of rows differ, or a half has too few.
    """
    own = main_directions(moments)
    return calibrate_confidence(own, map, rows, documents, constant=constant)


@takes(map=kinds.MAP, rows=kinds.TWO_SIDES)
def calibrate_confidence(
    own: Confidence,
    map: StateMap,
    rows: tuple[Array, Array],
    documents: Sequence[Any],
    *,
    constant: bool = False,
) -> Confidence:
    """`fit_confidence`, given the part that depends on the fit rows alone.

    Args:
      own: that part, from `main_directions`.
      map, rows, documents, constant: as for `fit_confidence`, with its errors.
    """
    x, y = (np.asarray(z, np.float32) for z in rows)
    documents = [str(one) for one in documents]
    if not len(x) == len(y) == len(documents):
        raise ValueError(
            "fit_confidence: x, y and documents need one entry per row, got "
            f"{len(x)}, {len(y)} and {len(documents)}."
        )
    for name, width, wanted in zip("xy", (x.shape[1], y.shape[1]), map.widths):
        checks.require_width("fit_confidence", name, width, wanted)
    held = second_half(documents)
    if lacking := lack_of(documents):
        raise ValueError(f"fit_confidence: {lacking}; use more texts.")
    y_hat = as_numpy(map)(x)
    found = features(own, x, y_hat)
    own = own._replace(
        centre=found[~held].mean(0),
        spread=np.maximum(found[~held].std(0), 1e-6),
        lowest=found[~held].min(0),
        highest=found[~held].max(0),
    )
    terms = own.terms(found).astype(np.float64)
    regressions = {}
    for name, cosine in true_cosines(own, y_hat, y).items():
        z = np.arctanh(np.clip(cosine, -_MOST, _MOST))
        weights = _regress(terms[~held], z[~held])
        if constant:
            weights = np.append(z[~held].mean(), np.zeros(len(weights) - 1))
        residuals = np.sort(terms[held] @ weights - z[held])
        regressions[name] = Regression(
            weights.astype(np.float32), residuals.astype(np.float32)
        )
    return own._replace(regressions=regressions)


def second_half(documents: Sequence[Any]) -> np.ndarray:
    """[N] bool: rows of the half of documents that gives the margins, by hash."""
    digests = (hashlib.sha256(f"confidence {one}".encode()) for one in documents)
    return np.array([own.digest()[0] & 1 for own in digests], bool)


def lack_of(documents: Sequence[Any]) -> str:
    """Why `fit_confidence` refuses rows of these documents; empty if it does not."""
    held = second_half(documents)
    halves = int((~held).sum()), int(held.sum())
    if min(halves) >= LEAST_ROWS:
        return ""
    return (
        f"needs {LEAST_ROWS} rows in each half of the documents, got {halves[0]} and "
        f"{halves[1]}"
    )


def true_cosines(
    own: Confidence, y_hat: np.ndarray, y: np.ndarray
) -> dict[str, np.ndarray]:
    """Name of COSINES -> [N] float64, for rows whose target is known."""
    y_hat, y = (np.asarray(z, np.float64) for z in (y_hat, y))
    centres = dict(zip(COSINES, (np.zeros_like(own.mean_y), own.mean_y)))
    return {
        name: _cosines(y_hat - centre, y - centre) for name, centre in centres.items()
    }


@takes(map=kinds.MAP, rows=kinds.TWO_SIDES)
def score_confidence(
    own: Confidence,
    map: StateMap,
    rows: tuple[Array, Array],
    documents: Sequence[Any],
    *,
    coverage: float = 0.9,
    resamples: int = 1000,
) -> dict[str, Interval]:
    """Evaluate a confidence on held-out rows.

    Args:
      own: of `fit_confidence`.
      map: the map that it was calibrated for.
      rows: x [N, dx] and y [N, dy].
      documents: [N] document of each row.
      coverage: the share of rows that the bound is to hold for.
      resamples: of the bootstrap over documents.

    Returns:
      For each NAME of COSINES, with intervals over documents: NAME, the mean of the
      true ones; NAME_predicted; NAME_at_least, the mean bound; NAME_coverage, the share
      of rows at or above their bound; NAME_correlation (Pearson) of predicted and true.
      And "outside", the share of rows outside the calibrated range, see
      `Confidence.judge`.

    Raises:
      ArtefactError: a coverage that the calibration cannot support.
    """
    x, y = (np.asarray(z, np.float32) for z in rows)
    y_hat = as_numpy(map)(x)
    columns: list[np.ndarray] = [np.ones(len(x))]
    names: list[str | None] = []
    for name, true in true_cosines(own, y_hat, y).items():
        predicted, least, outside = own.judge(name, x, y_hat, coverage=coverage)
        p, t = (z.astype(np.float64) - z.mean() for z in (predicted, true))
        columns += [true, predicted, least, true >= least, p, t, p * p, t * t, p * t]
        names += [name, *(f"{name}_{one}" for one in ("predicted", "at_least"))]
        # Constant predictions have no correlation with anything.
        correlation = f"{name}_correlation" if p.std() > 0 else None
        names += [f"{name}_coverage", correlation]
    # One bootstrap for all: drawing takes longer than the statistics.
    found = bootstrap_statistic(
        np.stack([*columns, outside], axis=1), documents, _scores, resamples=resamples
    )
    ends = zip([*names, "outside"], *(np.asarray(end).tolist() for end in found))
    return {name: Interval(*interval) for name, *interval in ends if name}


def _scores(sums: Array) -> Array:
    """The numbers of `score_confidence`, in its order, from sums of its columns."""
    count, each, outside = sums[0], sums[1:-1].reshape(len(COSINES), -1), sums[-1:]
    p, t, pp, tt, pt = each[:, 4:].T
    spread = (pp - p * p / count) * (tt - t * t / count)
    correlations = (pt - p * t / count) / spread**0.5
    means = each[:, :4] / count
    scores = jnp.concatenate([means, correlations[:, None]], axis=1)
    return jnp.concatenate([scores.reshape(-1), outside / count])


@takes(moments=kinds.MOMENTS)
def main_directions(
    moments: Moments, *, spectrum_x: Spectrum | None = None
) -> Confidence:
    """The part of a confidence that needs only the moments of the fit rows.

    Args:
      moments: of the rows that a map was fitted on.
      spectrum_x: of their cov_xx, where it is known.

    Returns:
      Confidence that predicts nothing yet; `calibrate_confidence` makes it do so.
    """
    spectrum = spectrum_of(moments.cov_xx) if spectrum_x is None else spectrum_x
    values = np.asarray(spectrum.values, np.float64)
    whole, target = values.sum(), float(np.trace(np.asarray(moments.cov_yy)))
    # Some variance must lie off them, or its logarithm is that of rounding error.
    fitting = int(np.sum(np.cumsum(values) <= _MAIN * whole))
    count = max(1, min(DIRECTIONS, fitting))
    values, basis = values[:count], np.asarray(spectrum.basis, np.float64)[:, :count]
    rest = max(whole - values.sum(), _LEAST_REST * whole)
    empty = np.zeros(0, np.float32)
    parts = (
        moments.mean_x,
        moments.mean_y,
        basis / np.sqrt(values),
        values,
        [whole, rest, target],
    )
    single = [np.asarray(part, np.float32) for part in parts] + 4 * [empty]
    return Confidence(**dict(zip(Confidence._fields, single)), regressions={})


def _regress(terms: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Ridge; the first term, one, is not penalised."""
    penalty = _PENALTY * len(terms) * np.eye(terms.shape[1])
    penalty[0, 0] = 0
    return np.linalg.solve(terms.T @ terms + penalty, terms.T @ z)


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.einsum("ij,ij->i", a, b) / np.where(norms > 0, norms, 1)
