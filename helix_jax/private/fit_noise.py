"""Differential privacy of an encrypted fit: what noise goes into which message.

Of rows x_i, y_i in unit balls, x of integers of norm 2^row_bits at most and y of 2^15,
the provider gives out

    C = sum_i x_i y_i'               replacing y_i by z moves it by |x_i| |y_i - z|
                                     <= 2^row_bits 2^16 in Frobenius norm
    s = sum_i (y_i, |y_i|^2)         moves by 2^16 (+ 1 for rounding), see below

each with discrete Gaussian noise, shares of the fit's rho (`accountant`). Replacing the
pair (x_i, y_i) moves both by no more, so that the same noise protects pairs, where the
client's own moments are noisy or public. The bound of C is reached by z = -y_i with
both of norm 1. Of s, with a, b <= 1 the norms of y_i and z,

    |y_i - z|^2 + (a^2 - b^2)^2 <= (a + b)^2 (1 + (a - b)^2) <= 4,

for at a = 1 the right side grows with b; so the energy costs nothing beside the mean.

The client's flood and the rounding of answers come after, and cannot undo it.
"""

import math
from typing import NamedTuple

import numpy as np

from helix_jax.errors import ProtocolError
from helix_jax.private import discrete_gaussian as noise
from helix_jax.private.accountant import Privacy, noise_multiplier
from helix_jax.private.fit_plan import KERNEL_BITS, FitPlan
from helix_jax.private.profiles import Profile
from helix_jax.private.row_blocks import RowSource, row_blocks
from helix_jax.private.unit_rows import unit_integers

COVARIANCE_SHARE = 0.9  # of a fit's rho; the means have the rest
MEAN_SENSITIVITY = 2.0 * 2**KERNEL_BITS + 1
ROW_BITS = range(56, 97)  # of the client's integers
_TAIL = 9.0  # standard deviations that no noise reaches: 2^-60 a number


class PrivateColumns(NamedTuple):
    """The provider's rows as they are multiplied, and public bounds of them.

    Attributes:
      rows: [n, d_y] float64 integers, each row of norm 2^15 at most.
      norm: above every column's.
      mean: above every number of the mean's message.
    """

    rows: np.ndarray
    norm: float
    mean: float


def private_columns(y: np.ndarray, privacy: Privacy) -> PrivateColumns:
    """The rows of a provider that protects them.

    Args:
      y: [n, d_y] float64, of norm 1 at most.
      privacy: of them.

    Raises:
      ValueError: a row is longer, or delta is 1 / n or more.
    """
    privacy.require_rows(len(y))
    rows = unit_integers("FitProvider", y, KERNEL_BITS)
    norm, mean = private_bounds(len(y), y.shape[1], privacy)
    return PrivateColumns(rows, norm, mean)


def private_bounds(rows: int, width: int, privacy: Privacy) -> tuple[float, float]:
    """Public bounds of n private rows of width d_y: norm, mean of PrivateColumns."""
    unit = 2.0**KERNEL_BITS
    spread = _mean_sigma(privacy.rho, width + 1) / rows
    return unit * math.sqrt(rows), unit + _TAIL * spread


def covariance_rho(rho: float) -> float:
    """Of the results' share."""
    return COVARIANCE_SHARE * rho


def mean_rho(rho: float) -> float:
    """Of the means' share."""
    return (1 - COVARIANCE_SHARE) * rho


def noisy_means(rows: RowSource, rho: float, bound: float) -> np.ndarray:
    """Means of the integer rows, and of |y|^2 / 2^15, with noise: float64 [d_y + 1].

    Args:
      rows: [n, d_y] of `private_columns`, or of `fit_targets`.
      rho: of the fit.
      bound: what no number may exceed.
    """
    sums = mean_sums(rows)
    sums += noise.draw_grid_noise(
        MEAN_SENSITIVITY, noise_multiplier(mean_rho(rho)), sums.shape
    ).integers()
    return np.clip(sums / rows.shape[0], -bound, bound)


def mean_sums(rows: RowSource) -> np.ndarray:
    """Sums of the integer rows, and of |y|^2 / 2^15: int64 [d_y + 1]."""
    sums = np.zeros(rows.shape[1] + 1, np.int64)
    for _, block in row_blocks(rows):
        integers = block.astype(np.int64)
        energy = (integers**2).sum(axis=1) >> KERNEL_BITS
        sums += np.append(integers.sum(axis=0), energy.sum())
    return sums


def mean_sigma(rho: float, width: int, rows: int) -> float:
    """Standard deviation of a mean's noise, in units of the rows' norm."""
    return math.ldexp(_mean_sigma(rho, width + 1) / rows, -KERNEL_BITS)


def centred_energy(raw: float, mean: np.ndarray, sigma: float) -> float:
    """The trace of cov_yy, from noisy numbers: the mean of |y|^2, and the mean of y.

    |mean|^2 is less what its noise adds; what noise has made negative is zero.

    Args:
      raw: the mean of |y|^2.
      mean: [d_y], with noise of a deviation sigma.
      sigma: of each.
    """
    own = max(float(mean @ mean) - len(mean) * sigma**2, 0.0)
    return min(max(raw - own, 0.0), 1.0)


def _mean_sigma(rho: float, count: int) -> float:
    """Of a sum, in units of the rows' integers."""
    return noise.grid_sigma(MEAN_SENSITIVITY, noise_multiplier(mean_rho(rho)), count)


def covariance_residues(
    rho: float,
    row_bits: int,
    shape: tuple[int, ...],
    *,
    plan: FitPlan,
    width: int,
    profile: Profile,
) -> np.ndarray:
    """Noise for some results, as residues [*shape[:-1], L, shape[-1]].

    Args:
      rho: of the fit.
      row_bits: of the client's integers.
      shape: of these results.
      plan: of the fit.
      width: d_y.
      profile: of the ring.
    """
    drawn = noise.draw_grid_noise(
        math.ldexp(2.0, row_bits + KERNEL_BITS),
        noise_multiplier(covariance_rho(rho)),
        shape,
        count=plan.tiles * plan.tile * width,
    )
    return drawn.residues(profile)


def covariance_sigma(rho: float, row_bits: int, plan: FitPlan, width: int) -> float:
    """Standard deviation of that noise, in units of the integers.

    Raises:
      ProtocolError: no noise of that size can be made.
    """
    try:
        return noise.grid_sigma(
            math.ldexp(2.0, row_bits + KERNEL_BITS),
            noise_multiplier(covariance_rho(rho)),
            plan.tiles * plan.tile * width,
        )
    except ValueError as wrong:
        raise ProtocolError(f"fit: {wrong}") from wrong


def require_row_bits(row_bits: int, rho: float, before: int) -> None:
    """Refuse a size of the client's integers that noise could not be made for.

    Args:
      row_bits: of a message of rows.
      rho: of the fit; 0 where it is not private.
      before: of the messages that came before; 0 where none has.

    Raises:
      ProtocolError: it is out of bounds, or another than before.
    """
    allowed = ROW_BITS if rho else range(1)
    if row_bits not in allowed or before not in (0, row_bits):
        raise ProtocolError(
            f"rows: integers of {row_bits} bits, expected "
            f"{before or f'{allowed[0]} to {allowed[-1]}'}."
        )


def require_left(spent: float, rho: float, privacy: Privacy) -> None:
    """Raise where what was given of the same rows leaves too little of an epsilon.

    Raises:
      ProtocolError: says how much was given.
    """
    total = privacy.total_rho
    if spent + rho > total * (1 + 1e-12):
        raise ProtocolError(
            f"fit: clients have had {spent / total:.0%} of the rho that epsilon "
            f"{privacy.epsilon:g} allows of these rows, and {rho / total:.0%} more are "
            "requested; nothing more can be given under this epsilon."
        )


def choose_row_bits(
    norm: float, norm_bits: int, rho: float, room: float, plan: FitPlan, width: int
) -> int:
    """The most bits of the client's integers for which no result wraps.

    Args:
      norm: the largest norm of a column of the client's rows.
      norm_bits: of the provider's columns.
      rho: of the fit.
      room: log2 of the largest result.
      plan: of the fit.
      width: d_y.

    Raises:
      ProtocolError: the noise leaves no room for them.
    """
    few = ROW_BITS[0]
    sigma = math.ldexp(covariance_sigma(rho, few, plan, width), -few)
    most = norm * 2.0**norm_bits + _TAIL * sigma
    bits = min(math.floor(room - math.log2(most)), ROW_BITS[-1])
    if bits < few:
        raise ProtocolError(
            f"fit: noise for rho {rho:.2g} leaves {bits} bits to the client's rows, "
            f"needs {few}; the provider has to raise epsilon."
        )
    return bits
