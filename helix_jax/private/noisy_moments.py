"""First and second moments of rows in the unit ball, with differential privacy.

The sums over rows of x and of the upper triangle of x x', as integers of 2 K bits, with
discrete Gaussian noise. With norms a, b <= 1 and cosine c, replacing x by z changes the
sums by at most the square root of

    |x - z|^2 + |x x' - z z'|_F^2 = a^2 + b^2 - 2 a b c + a^4 + b^4 - 2 (a b c)^2,

which is at most 4.5 (a = b = 1, c = -1/2): for a given a b c it grows with a and b, and
for a = b = 1 it is 4 - 2 c - 2 c^2. So Delta = sqrt(4.5), and one mechanism releases
both.

Noise makes the small eigenvalues of a covariance wrong, even negative. So all are
raised to at least the largest eigenvalue of the noise, 2 sigma sqrt(r) (Wigner), as
AdaSSP's penalty raises the smallest eigenvalue above the noise.

Reference: Wang 2018, arXiv 1803.02596, algorithm 2 (AdaSSP); Dwork, Talwar, Thakurta,
  Zhang 2014, "Analyze Gauss", algorithm 1. Both moments by one mechanism: ours.
"""

import math

import numpy as np

from helix_jax.private import discrete_gaussian
from helix_jax.private.accountant import Privacy, noise_multiplier
from helix_jax.private.unit_rows import unit_integers

BITS = 15  # of a row's integers
SENSITIVITY = math.sqrt(4.5)  # of both sums, when a row of norm 1 is replaced
_BLOCK = 2**18  # rows whose products are summed in float64, exactly


def moment_sums(rows: np.ndarray) -> np.ndarray:
    """[r + r (r + 1) / 2] int64: sums of x and of the triangle of x x', in 2^-2K.

    Args:
      rows: [n, r] float64, of norm at most 1, n below 2^32.

    Raises:
      ValueError: a row is longer.
    """
    integers = unit_integers("moment_sums", rows, BITS)
    width = integers.shape[1]
    sums, products = np.zeros(width, np.int64), np.zeros((width, width), np.int64)
    for start in range(0, len(integers), _BLOCK):
        part = integers[start : start + _BLOCK]
        sums += part.sum(axis=0).astype(np.int64)
        products += (part.T @ part).astype(np.int64)
    return np.concatenate([sums << BITS, products[np.triu_indices(width)]])


def sums_noise(length: int, rho: float, *, least: int = 1) -> np.ndarray:
    """Noise for `moment_sums`: [length] int64.

    Args:
      length: how many numbers the sums are.
      rho: of the zCDP that the sum of `least` such noises gives.
      least: see `curator`.
    """
    multiplier = noise_multiplier(rho) / math.sqrt(least)
    drawn = discrete_gaussian.draw_grid_noise(
        math.ldexp(SENSITIVITY, 2 * BITS), multiplier, (length,)
    )
    return drawn.integers()


def read_sums(sums: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean [r] and covariance [r, r], symmetric, from `moment_sums` of n rows.

    Args:
      sums: with noise or without.
      rows: n.
    """
    width = (math.isqrt(9 + 8 * len(sums)) - 3) // 2
    values = np.ldexp(np.asarray(sums, np.float64), -2 * BITS) / rows
    mean, second = values[:width], np.zeros((width, width))
    second[np.triu_indices(width)] = values[width:]
    second = second + np.triu(second, 1).T
    return mean, second - np.outer(mean, mean)


def lift_spectrum(covariance: np.ndarray, sigma: float) -> np.ndarray:
    """Raise all eigenvalues of a covariance to at least 2 sigma sqrt(r).

    Args:
      covariance: [r, r] float64, symmetric.
      sigma: standard deviation of the noise in its entries.
    """
    values, vectors = np.linalg.eigh(covariance)
    least = 2 * sigma * math.sqrt(len(values))
    return (vectors * np.maximum(values, least)) @ vectors.T


def own_moments(
    rows: np.ndarray, privacy: Privacy | None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean [r] and covariance [r, r] of one owner's rows, noisy or exact.

    Args:
      rows: [n, r] float64, of norm at most 1.
      privacy: of the rows; None for the exact moments.

    Raises:
      ValueError: a row is longer, or delta is 1 / n or more.
    """
    if privacy is None:
        centred = rows - rows.mean(axis=0)
        return rows.mean(axis=0), centred.T @ centred / len(rows)
    privacy.require_rows(len(rows))
    sums = moment_sums(rows)
    noisy = sums + sums_noise(len(sums), privacy.rho)
    mean, covariance = read_sums(noisy, len(rows))
    return mean, lift_spectrum(
        covariance, covariance_sigma(len(sums), privacy.rho, len(rows))
    )


def covariance_sigma(length: int, rho: float, rows: int, *, least: int = 1) -> float:
    """Standard deviation of one `sums_noise` in an entry of the covariance."""
    sigma = discrete_gaussian.grid_sigma(
        math.ldexp(SENSITIVITY, 2 * BITS),
        noise_multiplier(rho) / math.sqrt(least),
        length,
    )
    return math.ldexp(sigma, -2 * BITS) / rows
