"""The release of a private fit by one who holds both sides: its twin in the clear.

For data that lie in one place, and to measure what privacy costs: the numbers that a
client of a private `FitProvider` ends with have the distribution of these, but for the
encryption's rounding and the flood.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax.alignment import Moments
from helix_jax.private import discrete_gaussian, fit_noise
from helix_jax.private.accountant import Privacy, noise_multiplier
from helix_jax.private.fit_plan import KERNEL_BITS
from helix_jax.private.noisy_moments import own_moments
from helix_jax.private.unit_rows import unit_integers


class PrivateMoments(NamedTuple):
    """Moments, and the standard deviation [d_x, d_y] of the noise in cov_xy."""

    moments: Moments
    noise: np.ndarray


def private_moments(
    x: np.ndarray, y: np.ndarray, privacy: Privacy, *, own: Privacy | None = None
) -> PrivateMoments:
    """Moments of rows of the unit balls with differential privacy of y.

    Args:
      x: [n, d_x] float64, of norm 1 at most.
      y: [n, d_y] float64, of norm 1 at most.
      privacy: of y, given x; of the pairs, with `own`: the rhos add up.
      own: of x in its own moments; None leaves these exact.

    Returns:
      PrivateMoments; of cov_yy the trace alone is known.

    Raises:
      ValueError: a row is longer than 1, or a delta is 1 / n or more.
    """
    columns, rho = fit_noise.private_columns(y, privacy), privacy.rho
    rows, unit = len(x), 2.0**-KERNEL_BITS
    integers = unit_integers("private_moments", x, KERNEL_BITS)
    shape = x.shape[1], y.shape[1]
    release = (
        math.ldexp(2.0, 2 * KERNEL_BITS),
        noise_multiplier(fit_noise.covariance_rho(rho)),
    )
    sums = integers.T @ columns.rows  # exact below 2^53
    sums = sums + discrete_gaussian.draw_grid_noise(*release, shape).integers()
    sigma = discrete_gaussian.grid_sigma(*release, math.prod(shape))
    means = unit * fit_noise.noisy_means(columns.rows, rho, columns.mean)
    mean_y = means[:-1]
    energy = fit_noise.centred_energy(float(means[-1]), mean_y, rho=rho, rows=rows)
    mean_x, cov_xx = own_moments(x, own)
    cov_xy = unit**2 * sums / rows - np.outer(mean_x, mean_y)
    cov_yy = energy / shape[1] * np.eye(shape[1])
    with jax.enable_x64(True):
        parts = (float(rows), mean_x, mean_y, cov_xx, cov_xy, cov_yy)
        moments = Moments(*map(jnp.asarray, parts))
    return PrivateMoments(moments, np.full(shape, unit**2 * sigma / rows))
