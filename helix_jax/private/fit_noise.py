"""Differential privacy of an encrypted fit: the noise in each message.

For rows x_i, y_i in unit balls, scaled to integers of norm at most 2^row_bits (x) and
2^15 (y), the provider releases

    C = sum_i x_i y_i'               replacing y_i by z moves it by |x_i| |y_i - z|
                                     <= 2^row_bits 2^16 in Frobenius norm
    s = sum_i (y_i, |y_i|^2)         moves by 2^16 (+ 1 for rounding), see below

each with discrete Gaussian noise that spends a share of the fit's rho (`accountant`).
Replacing the pair (x_i, y_i) moves both by no more, so the same noise protects pairs if
the client's own moments are noisy or public. The bound of C is attained at z = -y_i
with both of norm 1. For s, let a, b <= 1 be the norms of y_i and z:

    |y_i - z|^2 + (a^2 - b^2)^2 <= (a + b)^2 (1 + (a - b)^2) <= 4,

because at a = 1 the right side grows with b; so releasing the energy with the mean
costs nothing more.

The flood and the rounding of answers are added afterwards and cannot undo the noise.
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

COVARIANCE_SHARE = 0.9  # of a fit's rho; the means get the rest
MEAN_SENSITIVITY = 2.0 * 2**KERNEL_BITS + 1
ROW_BITS = range(56, 97)  # of the client's integers
_TAIL = 9.0  # standard deviations; noise exceeds them with probability 2^-60 per number


class PrivateColumns(NamedTuple):
    """A provider's private rows as integers, and public bounds on them.

    Attributes:
      rows: [n, d_y] float64 integers, each row of norm at most 2^15.
      norm: upper bound on the norm of every column.
      mean: upper bound on every number in the message of the means.
    """

    rows: np.ndarray
    norm: float
    mean: float


def private_columns(y: np.ndarray, privacy: Privacy) -> PrivateColumns:
    """A provider's private rows as integers, and public bounds on them.

    Args:
      y: [n, d_y] float64, of norm at most 1.
      privacy: of the rows.

    Raises:
      ValueError: a row is longer than 1, or delta is 1 / n or more.
    """
    privacy.require_rows(len(y))
    rows = unit_integers("FitProvider", y, KERNEL_BITS)
    norm, mean = private_bounds(len(y), y.shape[1], privacy)
    return PrivateColumns(rows, norm, mean)


def private_bounds(rows: int, width: int, privacy: Privacy) -> tuple[float, float]:
    """Bounds on n private rows of width d_y: (norm, mean) of `PrivateColumns`."""
    unit = 2.0**KERNEL_BITS
    spread = _mean_sigma(privacy.rho, width + 1) / rows
    return unit * math.sqrt(rows), unit + _TAIL * spread


def covariance_rho(rho: float) -> float:
    """The results' share of a fit's rho."""
    return COVARIANCE_SHARE * rho


def mean_rho(rho: float) -> float:
    """The means' share of a fit's rho."""
    return (1 - COVARIANCE_SHARE) * rho


def noisy_means(rows: RowSource, rho: float, bound: float) -> np.ndarray:
    """Means of the integer rows, and of |y|^2 / 2^15, with noise: float64 [d_y + 1].

    Args:
      rows: [n, d_y] of `private_columns`, or of `fit_targets`.
      rho: of the fit.
      bound: limit that every number is clipped to.
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

    What the noise adds to |mean|^2 on average is subtracted from it. The result is
    clipped to [0, 1].

    Args:
      raw: the mean of |y|^2.
      mean: [d_y], with noise of standard deviation sigma in each number.
      sigma: of that noise.
    """
    own = max(float(mean @ mean) - len(mean) * sigma**2, 0.0)
    return min(max(raw - own, 0.0), 1.0)


def _mean_sigma(rho: float, count: int) -> float:
    """Standard deviation of the noise of a sum, in units of the rows' integers."""
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
    """Standard deviation of the noise of a result, in units of the integers.

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
    """Refuse a size of the client's integers for which noise cannot be made.

    Args:
      row_bits: of a message of rows.
      rho: of the fit; 0 if it is not private.
      before: row_bits of the earlier messages; 0 if there are none.

    Raises:
      ProtocolError: row_bits is out of bounds, or differs from `before`.
    """
    allowed = ROW_BITS if rho else range(1)
    if row_bits not in allowed or before not in (0, row_bits):
        raise ProtocolError(
            f"rows: integers of {row_bits} bits, expected "
            f"{before or f'{allowed[0]} to {allowed[-1]}'}."
        )


def require_left(spent: float, rho: float, privacy: Privacy) -> None:
    """Refuse an answer if earlier ones about the same rows leave too little epsilon.

    Raises:
      ProtocolError: too little is left; the message says how much was given.
    """
    total = privacy.total_rho
    if spent + rho > total * (1 + 1e-12):
        raise ProtocolError(
            f"fit: clients have had {spent / total:.0%} of the rho that epsilon "
            f"{privacy.epsilon:g} allows for these rows, and {rho / total:.0%} more is "
            "requested; this answer cannot be given under this epsilon."
        )


def choose_row_bits(
    norm: float, norm_bits: int, rho: float, room: float, plan: FitPlan, width: int
) -> int:
    """The most bits of the client's integers for which no result wraps modulo q.

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
            f"fit: noise for rho {rho:.2g} leaves {bits} bits for the client's rows, "
            f"which need {few}; the provider has to raise epsilon."
        )
    return bits
