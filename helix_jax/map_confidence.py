"""How close each mapped row is to the target's own row, in numpy alone.

    features   f(x, y_hat): energies of x and of y_hat, in and off the main directions
    predicted  tanh(w . terms(f)), the cosine of y_hat with the target's row
    at least   tanh(w . terms(f) - q), which holds for a share `coverage` of rows

q is the quantile of the calibration rows' own atanh(predicted) - atanh(cosine), one
place further than the share, so that the bound holds on average over draws of the
calibration rows, for new rows that are exchangeable with them: the same kind of text.

Reference: Vovk, Gammerman and Shafer 2005, "Algorithmic learning in a random world";
  Lei et al. 2018, "Distribution-free predictive inference for regression", theorem 2.1.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from helix_jax.errors import ArtefactError

COSINES = ("cosine", "centred_cosine")  # about zero, about the target's fit mean
COVERAGE = 0.9  # share of rows at or above their bound, unless another is asked for
_SMALL = 1e-3  # added to energies, so that logarithms do not amplify rounding


class Regression(NamedTuple):
    """The predictor of one cosine.

    Attributes:
      weights: [terms] float.
      residuals: [n] float, atanh(predicted) - atanh(true) of n rows that the weights
        were not fitted on, ascending.
    """

    weights: np.ndarray
    residuals: np.ndarray


class Confidence(NamedTuple):
    """The calibration of one map.

    Attributes:
      mean_x, mean_y: [dx], [dy] of the fit rows.
      directions: [dx, k], main directions of x, each divided by its standard deviation.
      variances: [k] of x along them.
      scales: [3] mean squares: of x - mean_x, of its part off the directions, and of
        y - mean_y.
      centre, spread: [F] of the features of the calibration rows.
      lowest, highest: [F], bounds to which features are clipped.
      regressions: name of COSINES -> Regression.
    """

    mean_x: np.ndarray
    mean_y: np.ndarray
    directions: np.ndarray
    variances: np.ndarray
    scales: np.ndarray
    centre: np.ndarray
    spread: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    regressions: Mapping[str, Regression]

    def __call__(
        self, name: str, x: np.ndarray, y_hat: np.ndarray, *, coverage: float = 0.9
    ) -> tuple[np.ndarray, np.ndarray]:
        """Predicted cosine of each mapped row with the target's own, and its bound.

        Args:
          name: "cosine", or "centred_cosine" about the mean of the target's fit rows.
          x: [N, dx] float, source rows.
          y_hat: [N, dy] float, what the map gives for them.
          coverage: share of rows whose cosine is at least the bound.

        Returns:
          [N] float32 twice: predicted, at least.

        Raises:
          ArtefactError: too few calibration rows for this coverage.
        """
        return self.judge(name, x, y_hat, coverage=coverage)[:2]

    def judge(
        self, name: str, x: np.ndarray, y_hat: np.ndarray, *, coverage: float = COVERAGE
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As a call, and [N] bool: rows outside the range of the calibration rows.

        A feature of such a row is lower, or higher, than in all calibration rows. This
        holds for few rows of the same kind of text and for many of another kind, for
        which the bound promises nothing.
        """
        own, margin = self.regressions[name], self.margin(name, coverage)
        found = features(self, x, y_hat)
        z = self.terms(found) @ own.weights
        value, low = np.tanh([z, z - margin], dtype=np.float32)
        outside = (found < self.lowest) | (found > self.highest)
        return value, low, np.any(outside, axis=1)

    def margin(self, name: str, coverage: float) -> float:
        """q of a coverage; errors as for a call."""
        residuals = self.regressions[name].residuals
        place = math.ceil((len(residuals) + 1) * coverage)
        if not 0 < coverage < 1 or place > len(residuals):
            most = len(residuals) / (len(residuals) + 1)
            raise ArtefactError(
                f"a coverage of {coverage} cannot be had from {len(residuals)} "
                f"calibration rows; ask for one in (0, {math.floor(1e4 * most) / 1e4}]."
            )
        return float(residuals[place - 1])

    def terms(self, found: np.ndarray) -> np.ndarray:
        """[N, F] features -> [N, terms]: one, features, their products."""
        held = np.clip(found, self.lowest, self.highest)
        scaled = (held - self.centre) / self.spread
        one = np.ones((len(scaled), 1), scaled.dtype)
        first, second = np.triu_indices(scaled.shape[1])
        products = scaled[:, first] * scaled[:, second]
        return np.concatenate([one, scaled, products], axis=1)

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays stored in an artefact; `confidence_of` reads them."""
        found = {k: v for k, v in self._asdict().items() if k != "regressions"}
        for name, own in self.regressions.items():
            found |= {f"{name}.{part}": value for part, value in own._asdict().items()}
        return {name: np.asarray(value, np.float32) for name, value in found.items()}


def confidence_of(arrays: Mapping[str, np.ndarray]) -> Confidence:
    """The calibration of `Confidence.arrays`.

    Raises:
      KeyError: a part is missing.
    """
    regressions = {
        name: Regression(arrays[f"{name}.weights"], arrays[f"{name}.residuals"])
        for name in COSINES
    }
    parts = {name: arrays[name] for name in Confidence._fields[:-1]}
    return Confidence(**parts, regressions=regressions)


def features(own: Confidence, x: np.ndarray, y_hat: np.ndarray) -> np.ndarray:
    """[N, F] float32 features of rows and their images, see the top of this file.

    In order: log energy of x about its mean; of it along the main directions, each in
    its own standard deviations (Mahalanobis); off them; of y_hat about the mean of y;
    of y_hat about zero. An energy of one is that of an average fit row.

    Args:
      own: means, directions and scales are used.
      x: [N, dx] float.
      y_hat: [N, dy] float.
    """
    x, y_hat = (np.asarray(z, np.float32) for z in (x, y_hat))
    beside = np.concatenate([own.directions, own.mean_x[:, None]], axis=1)
    along = x @ beside
    energy = _squares(x) - 2 * along[:, -1] + own.mean_x @ own.mean_x
    scores = along[:, :-1] - own.mean_x @ own.directions
    scores *= scores
    off = energy - scores @ own.variances
    about_zero = _squares(y_hat)
    mean_square = float(own.mean_y @ own.mean_y)
    about_mean = about_zero - 2 * (y_hat @ own.mean_y) + mean_square
    whole, rest, target = own.scales
    parts = (
        energy / whole,
        scores.mean(axis=1),
        off / rest,
        about_mean / target,
        about_zero / (mean_square + target),
    )
    return np.log(np.maximum(np.stack(parts, axis=1), 0) + _SMALL)


def _squares(rows: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", rows, rows)
