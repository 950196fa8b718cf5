"""The release of a private fit by holders of both sides' rows.

One holder of all rows, or several who each add their share of the noise to their own
sums, release what a client of a private `FitProvider` ends up with:

    private_moments   by one holder
    private_sums      by one of several: integers, to be added under masks
    read_sums_of      the moments, from the total

With P parties, the noise of any `least` of them is enough: each adds 1 / least of the
variance. A sum of discrete Gaussians is not exactly discrete Gaussian, but with
thousands of steps per standard deviation its probabilities are those of one, up to
factors of 1 + e^(-10^6).

Reference: Kairouz, Liu, Steinke 2021, arXiv 2102.06387, proposition 14 (sums of
  discrete Gaussians).
"""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax.alignment import AffineMap, Moments, fit_ridge, from_batch, select_by_gcv
from helix_jax.private import discrete_gaussian, fit_noise, noisy_moments
from helix_jax.private.accountant import Privacy, noise_multiplier
from helix_jax.private.fit_plan import KERNEL_BITS
from helix_jax.private.unit_rows import unit_integers

PENALTIES = tuple(np.logspace(-8, 4, 25).tolist())  # noisy moments need large ones
_UNIT = 2.0**-KERNEL_BITS


class PrivateMoments(NamedTuple):
    """Moments, and the standard deviation [d_x, d_y] of the noise in cov_xy."""

    moments: Moments
    noise: np.ndarray


@dataclasses.dataclass(frozen=True)
class _Release:
    """One mechanism: its sensitivity, sigma / sensitivity, and how many numbers."""

    sensitivity: float
    multiplier: float
    count: int

    def noise(self, least: int) -> np.ndarray:
        """One party's noise, if that of `least` parties is enough."""
        return discrete_gaussian.draw_grid_noise(
            self.sensitivity, self.multiplier / math.sqrt(least), (self.count,)
        ).integers()

    def sigma(self, least: int, parties: int) -> float:
        """Standard deviation of the noise that all parties add together."""
        one = discrete_gaussian.grid_sigma(
            self.sensitivity, self.multiplier / math.sqrt(least), self.count
        )
        return one * math.sqrt(parties)


def _of_means(rho: float, dy: int) -> _Release:
    multiplier = noise_multiplier(fit_noise.mean_rho(rho))
    return _Release(fit_noise.MEAN_SENSITIVITY, multiplier, dy + 1)


def _of_products(rho: float, dx: int, dy: int) -> _Release:
    multiplier = noise_multiplier(fit_noise.covariance_rho(rho))
    return _Release(math.ldexp(2.0, 2 * KERNEL_BITS), multiplier, dx * dy)


def private_moments(
    x: np.ndarray, y: np.ndarray, privacy: Privacy, *, own: Privacy | None = None
) -> PrivateMoments:
    """Moments of rows in the unit balls, with differential privacy of y.

    Args:
      x: [n, d_x] float64, of norm at most 1.
      y: [n, d_y] float64, of norm at most 1.
      privacy: of y given x; with `own`, of the pairs (x, y): the rhos add up.
      own: of x in its own moments; None leaves these exact.

    Returns:
      PrivateMoments; only the trace of cov_yy is known.

    Raises:
      ValueError: a row is longer than 1, or a delta is 1 / n or more.
    """
    mean_x, cov_xx = noisy_moments.own_moments(x, own)
    sums = _cross_sums(x, y, privacy, least=1)
    shape = x.shape[1], y.shape[1]
    return _read_cross(sums, len(x), shape, mean_x, cov_xx, privacy.rho, 1, 1)


def private_sums(
    x: np.ndarray, y: np.ndarray, privacy: Privacy, own: Privacy, *, least: int
) -> np.ndarray:
    """A party's sums with its share of the noise, int64.

    Args:
      x, y, privacy, own: as `private_moments`.
      least: number of parties whose noise must be enough: those that certainly stay to
        the end and keep their noise secret.

    Returns:
      [d_x + d_x (d_x + 1) / 2 + d_y + 1 + d_x d_y]; `read_sums_of` reads the total.

    Raises:
      ValueError: as `private_moments`.
    """
    own.require_rows(len(x))
    sums = noisy_moments.moment_sums(x)
    sums = sums + noisy_moments.sums_noise(len(sums), own.rho, least=least)
    return np.concatenate([sums, _cross_sums(x, y, privacy, least=least)])


def read_sums_of(
    sums: np.ndarray,
    rows: int,
    widths: tuple[int, int],
    privacy: Privacy,
    own: Privacy,
    *,
    least: int,
    parties: int,
) -> PrivateMoments:
    """The moments of all rows, from the total of `private_sums`.

    Args:
      sums: the total, of any numeric dtype.
      rows: number of rows of all parties in the total.
      widths: d_x and d_y.
      privacy, own, least: as the parties used them.
      parties: number of parties in the total.
    """
    length = sums_length(widths[0])
    mean_x, covariance = noisy_moments.read_sums(sums[:length], rows)
    sigma = noisy_moments.covariance_sigma(length, own.rho, rows, least=least)
    cov_xx = noisy_moments.lift_spectrum(covariance, sigma * math.sqrt(parties))
    rest = sums[length:]
    return _read_cross(rest, rows, widths, mean_x, cov_xx, privacy.rho, least, parties)


def sums_length(dx: int) -> int:
    """How many numbers the source's own moments take."""
    return dx + dx * (dx + 1) // 2


def _cross_sums(
    x: np.ndarray, y: np.ndarray, privacy: Privacy, *, least: int
) -> np.ndarray:
    """Noisy sums of (y, |y|^2) and of x y', int64."""
    columns = fit_noise.private_columns(y, privacy)
    integers = unit_integers("private_moments", x, KERNEL_BITS)
    dx, dy = x.shape[1], y.shape[1]
    means = fit_noise.mean_sums(columns.rows)
    means += _of_means(privacy.rho, dy).noise(least)
    products = (integers.T @ columns.rows).astype(np.int64).reshape(-1)  # below 2^53
    products += _of_products(privacy.rho, dx, dy).noise(least)
    return np.concatenate([means, products])


def _read_cross(
    sums: np.ndarray,
    rows: int,
    widths: tuple[int, int],
    mean_x: np.ndarray,
    cov_xx: np.ndarray,
    rho: float,
    least: int,
    parties: int,
) -> PrivateMoments:
    dx, dy = widths
    values = np.asarray(sums, np.float64) / rows
    means = _UNIT * values[: dy + 1]
    mean_y = means[:-1]
    spread = _UNIT * _of_means(rho, dy).sigma(least, parties) / rows
    energy = fit_noise.centred_energy(float(means[-1]), mean_y, spread)
    cov_xy = _UNIT**2 * values[dy + 1 :].reshape(widths) - np.outer(mean_x, mean_y)
    sigma = _UNIT**2 * _of_products(rho, dx, dy).sigma(least, parties) / rows
    with jax.enable_x64(True):
        cov_yy = energy / dy * np.eye(dy)
        parts = (float(rows), mean_x, mean_y, cov_xx, cov_xy, cov_yy)
        moments = Moments(*map(jnp.asarray, parts))
    return PrivateMoments(moments, np.full(widths, sigma))


def private_map(
    x: np.ndarray, y: np.ndarray, privacy: Privacy | None, *, own: Privacy | None = None
) -> AffineMap:
    """The ridge map of private moments, with a penalty that allows for the noise.

    Args:
      x: [n, d_x] float64, of norm at most 1.
      y: [n, d_y] float64, of norm at most 1.
      privacy: as `private_moments`; None for none.
      own: as `private_moments`.

    Returns:
      AffineMap between the unit balls; see `expand_map`.

    Raises:
      ValueError: as `private_moments`.
    """
    if privacy is None:
        return noisy_map(from_batch(x, y), None)
    return noisy_map(*private_moments(x, y, privacy, own=own))


def noisy_map(moments: Moments, noise: np.ndarray | None) -> AffineMap:
    """The ridge map of moments; `noise` is the standard deviation of that in cov_xy."""
    path = fit_ridge(moments, penalties=PENALTIES)
    return select_by_gcv(path, moments, noise=noise).fit.map
