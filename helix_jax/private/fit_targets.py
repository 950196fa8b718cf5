"""The target rows of an encrypted fit as integers, as they are multiplied."""

import math
import os
from typing import NamedTuple

import numpy as np

from helix_jax import numeric
from helix_jax.private import fit_bits, fit_noise
from helix_jax.private.accountant import Privacy
from helix_jax.private.fit_plan import (
    ENERGY_BITS,
    KERNEL_BITS,
    MAX_EXPONENT,
    MAX_MEAN_SCALE,
    FitOffer,
    FitPlan,
)
from helix_jax.private.profiles import Profile
from helix_jax.types import Array

TARGETS = 256  # columns multiplied at once


class Targets(NamedTuple):
    """Integer rows, and what their offer tells of them.

    Attributes:
      rows: [n, d_y] float64 integers.
      exponents: [d_y] log2 of each column's unit.
      norm: at least every column's.
      mean: at least every number of the mean's message.
      means: [d_y] float64 of the columns, in their units; None of private rows, whose
        noisy ones are drawn.
      energy: trace of cov_yy, rounded; 0 of private rows, whose noisy one is beside
        the means.
    """

    rows: np.ndarray
    exponents: np.ndarray
    norm: float
    mean: float
    means: np.ndarray | None
    energy: float


def check_targets(y: Array) -> np.ndarray:
    """A copy of rows in float64.

    Args:
      y: [n, d_y] float.

    Raises:
      ValueError: shapes or values that cannot be.
    """
    y = np.asarray(numeric.numbers("FitProvider", "y", y), np.float64)
    if y.ndim != 2 or len(y) < 2:
        raise ValueError(f"FitProvider: y needs shape [n, d_y], got {y.shape}.")
    y = y.copy()
    if not np.isfinite(y).all():
        raise ValueError("FitProvider: y must be finite.")
    size = float(np.abs(y).max())
    if size and not 2.0 ** (40 - MAX_EXPONENT) < size < 2.0 ** (MAX_EXPONENT - 40):
        raise ValueError(
            f"FitProvider: the largest of y is {size:g}; scale y to numbers near 1."
        )
    return y


def integer_targets(y: np.ndarray, privacy: Privacy | None) -> Targets:
    """Rows in integers: centred, each column in its unit; private ones as they are.

    Args:
      y: [n, d_y] float64 of `check_targets`.
      privacy: of them, or None.

    Raises:
      ValueError: of private rows, see `private_columns`.
    """
    if privacy is not None:
        rows, norm, mean = fit_noise.private_columns(y, privacy)
        exponents = np.full(y.shape[1], -KERNEL_BITS)
        return Targets(rows, exponents, norm, mean, None, 0.0)
    means = y.mean(axis=0)
    y = y - means
    exponents = fit_bits.column_units(y, means)
    rows = np.rint(np.ldexp(y, -exponents)).astype(np.float64)
    scaled = np.ldexp(means, -exponents)
    return Targets(
        rows,
        exponents,
        float(np.linalg.norm(rows, axis=0).max()),
        float(np.abs(scaled).max()),
        scaled,
        _rounded(float((y**2).sum() / len(y)), ENERGY_BITS),
    )


def make_offer(
    targets: Targets,
    profile: Profile,
    digest: bytes,
    *,
    precision: int | None,
    privacy: Privacy | None,
) -> FitOffer:
    """What the client may know of rows, in a new fit.

    Args:
      targets: the rows.
      profile: of the ring.
      digest: of the rows' names.
      precision: bits that one number of the result carries at most, or None.
      privacy: of the rows, or None.
    """
    room = profile.modulus.bit_length() - 4
    return FitOffer(
        profile,
        os.urandom(16),
        len(targets.rows),
        digest,
        math.ceil(math.log2(max(targets.norm, 1.0))),
        min(room - int(np.frexp(targets.mean)[1]), MAX_MEAN_SCALE),
        precision if precision and profile.guarded else 0,
        targets.energy,
        privacy.rho if privacy else 0.0,
        targets.exponents,
    )


def chunk_weights(rows: np.ndarray, plan: FitPlan, number: int) -> list[np.ndarray]:
    """Integers [blocks * chunk, targets] as `split_limbs` has them, by columns.

    Args:
      rows: [n, d_y] all of them.
      plan: where they lie.
      number: of the message.
    """
    size = plan.chunk * plan.blocks
    part = rows[number * size : (number + 1) * size]
    part = np.pad(part, ((0, size - len(part)), (0, 0)))
    part = part.reshape(plan.chunk, plan.blocks, -1).swapaxes(0, 1)
    part = part.reshape(size, -1)
    return [
        np.ascontiguousarray(part[:, start : start + TARGETS])
        for start in range(0, part.shape[1], TARGETS)
    ]


def _rounded(value: float, bits: int) -> float:
    """A float of so many bits."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(round(math.ldexp(mantissa, bits)), exponent - bits)
