"""Exact discrete Gaussian noise: no float is drawn, rounded or compared.

The low bits of floating-point noise can break privacy (Mironov 2012), and the protocols
release integers, so the noise z is an integer too, with probability proportional to
exp(-z^2 / (2 sigma^2)). It is drawn by rejection from the discrete Laplace distribution
of scale sigma; every acceptance probability is exp(-n / d) with integers n and d, and
every coin toss draws an integer below a bound.

Large integers C get noise on a grid. With z as above and u uniform below 2^g,

    C + u + 2^g z

reveals two things only: (u + C) mod 2^g, which is uniform whatever C is; and, given
that, z plus C / 2^g rounded up or down by a rule that does not otherwise depend on C.
If C moves by Delta, k such rounded numbers move by at most Delta / 2^g + sqrt(k).

Reference: Canonne, Kamath, Steinke 2020, arXiv 2004.00010, algorithms 1 to 3; Mironov
  2012, "On significance of the least significant bits for differential privacy". The
  grid: ours.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from helix_jax.private import residues, sampling
from helix_jax.private.profiles import Profile

SCALE_BITS = 24  # of sigma on the grid: all that follows stays within 62 bits
MOST_BITS = 100  # of the grid's step
_LOW_BITS = 50  # of u in one draw


class GridNoise(NamedTuple):
    """Noise u + 2^bits z; u has `bits` bits and is drawn when it is added.

    Attributes:
      bits: log2 of the grid's step.
      steps: z, int64.
    """

    bits: int
    steps: np.ndarray

    def integers(self) -> np.ndarray:
        """As int64, for grid steps of up to 30 bits."""
        rest = sampling.uniform_bits(self.bits, self.steps.shape)
        return (self.steps << self.bits) + rest

    def residues(self, profile: Profile) -> np.ndarray:
        """As residues [..., L, n], exact modulo every prime."""
        low_bits = min(self.bits, _LOW_BITS)
        low = sampling.uniform_bits(low_bits, self.steps.shape)
        high = sampling.uniform_bits(self.bits - low_bits, self.steps.shape)
        rest = residues.split_residues(high, low, low_bits, profile)
        zero = np.zeros_like(self.steps)
        steps = residues.split_residues(self.steps, zero, self.bits, profile)
        return (rest + steps) % residues.column(profile)


def grid_scale(sensitivity: float, multiplier: float, count: int) -> tuple[int, int]:
    """The grid for `count` numbers: (log2 of its step, integer sigma in steps).

    Args:
      sensitivity: Delta, the most that the numbers move together (L2), in their own
        units.
      multiplier: required sigma / Delta.
      count: k.

    Raises:
      ValueError: an argument is not positive, or the noise is too large for a grid.
    """
    if not (sensitivity > 0 and multiplier > 0 and count > 0):
        raise ValueError(
            "discrete noise needs a positive sensitivity, multiplier and count, got "
            f"{sensitivity:g}, {multiplier:g} and {count}."
        )
    bits = max(0, math.ceil(math.log2(sensitivity * multiplier)) - SCALE_BITS + 1)
    rounding = math.sqrt(count) if bits else 0.0
    scale = math.ceil((math.ldexp(sensitivity, -bits) + rounding) * multiplier)
    if scale >= 2**SCALE_BITS or bits > MOST_BITS:
        raise ValueError(
            f"discrete noise of {multiplier:g} times a sensitivity of {sensitivity:g} "
            f"on {count} numbers is beyond {SCALE_BITS} bits; raise epsilon."
        )
    return bits, scale


def grid_sigma(sensitivity: float, multiplier: float, count: int) -> float:
    """Standard deviation of the noise, in the numbers' own units."""
    bits, scale = grid_scale(sensitivity, multiplier, count)
    return math.ldexp(scale, bits)


def draw_grid_noise(
    sensitivity: float, multiplier: float, shape: tuple[int, ...], *, count: int = 0
) -> GridNoise:
    """Noise of `multiplier` times the sensitivity, for integers of this shape.

    Args:
      sensitivity: L2, of all the integers together that are released.
      multiplier: sigma / Delta, `accountant.noise_multiplier`.
      shape: of the integers to draw noise for now.
      count: of all integers that are released; 0 if these are all.

    Raises:
      ValueError: as `grid_scale`.
    """
    bits, scale = grid_scale(sensitivity, multiplier, count or math.prod(shape))
    return GridNoise(bits, discrete_gaussian(scale, shape))


def discrete_gaussian(scale: int, shape: tuple[int, ...]) -> np.ndarray:
    """Integers z of probability proportional to exp(-z^2 / (2 scale^2)), int64.

    Args:
      scale: sigma, from 1 to 2^24.
      shape: of the result.

    Raises:
      ValueError: scale is out of range.

    Reference: Canonne, Kamath, Steinke 2020, algorithm 3, with t = sigma.
    """
    if not 1 <= scale <= 2**SCALE_BITS:
        raise ValueError(
            f"discrete_gaussian: scale needs 1 to 2^{SCALE_BITS}, got {scale}."
        )

    def proposals(count: int) -> tuple[np.ndarray, np.ndarray]:
        tried = _discrete_laplace(scale, count)
        # (|z| - sigma^2 / t)^2 / (2 sigma^2)
        return tried, _heads((np.abs(tried) - scale) ** 2, 2 * scale**2)

    return _accepted(proposals, math.prod(shape), 0.6).reshape(shape)


def _discrete_laplace(scale: int, count: int) -> np.ndarray:
    """Integers of probability proportional to exp(-|z| / scale) (algorithm 2)."""

    def proposals(count: int) -> tuple[np.ndarray, np.ndarray]:
        low = _below(scale, count)
        kept = _heads(low, scale)
        size = low + scale * _successes(count)
        minus = sampling.uniform_bits(1, (count,)) == 1
        # Zero has one sign.
        return np.where(minus, -size, size), kept & ~(minus & (size == 0))

    return _accepted(proposals, count, 0.6)


def _heads(numerators: np.ndarray, denominator: int) -> np.ndarray:
    """Coins that are heads with probability exp(-n / d), n and d integers."""
    whole, rest = np.divmod(numerators, denominator)
    # exp(-whole) is the chance that `whole` coins of probability 1 / e are all heads.
    return (_successes(len(whole)) >= whole) & _heads_below_one(rest, denominator)


def _heads_below_one(numerators: np.ndarray, denominator: int) -> np.ndarray:
    """The same for 0 <= n / d <= 1 (algorithm 1): tosses of probability n / (d k)."""
    heads = np.zeros(len(numerators), bool)
    going, toss = np.arange(len(numerators)), 0
    while len(going):
        toss += 1
        stay = _below(denominator * toss, len(going)) < numerators[going]
        heads[going[~stay]] = toss % 2 == 1
        going = going[stay]
    return heads


def _successes(count: int) -> np.ndarray:
    """How many coins of probability 1 / e are heads in a row."""
    wins, going = np.zeros(count, np.int64), np.arange(count)
    while len(going):
        going = going[_heads_below_one(np.ones(len(going), np.int64), 1)]
        wins[going] += 1
    return wins


def _below(bound: int, count: int) -> np.ndarray:
    """Uniform integers below a bound."""
    bits = (bound - 1).bit_length()

    def proposals(count: int) -> tuple[np.ndarray, np.ndarray]:
        drawn = sampling.uniform_bits(bits, (count,))
        return drawn, drawn < bound

    return _accepted(proposals, count, bound / 2**bits)


def _accepted(
    proposals: Callable[[int], tuple[np.ndarray, np.ndarray]], count: int, rate: float
) -> np.ndarray:
    """The first `count` accepted proposals, if about a share `rate` is accepted."""
    found = np.empty(0, np.int64)
    while len(found) < count:
        values, kept = proposals(int((count - len(found)) / rate * 1.1) + 16)
        found = np.concatenate([found, values[kept]])
    return found[:count]
