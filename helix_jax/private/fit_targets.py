"""The target rows of an encrypted fit as integers, ready to multiply.

It takes two passes over the rows, in blocks: one measures, one makes the integers.
"""

import dataclasses
import math
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
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
from helix_jax.private.row_blocks import INTEGERS, RowBlock, RowSource, row_blocks
from helix_jax.private.unit_rows import require_longest, unit_integers

TARGETS = 256  # columns multiplied at once
_LEAST, _MOST = 2.0 ** (40 - MAX_EXPONENT), 2.0 ** (MAX_EXPONENT - 40)


class Targets(NamedTuple):
    """What an offer and its answers need to know about the integer rows.

    Attributes:
      exponents: [d_y] log2 of each column's unit.
      norm: upper bound on the norm of every column.
      mean: upper bound on every number in the message of the means.
      means: [d_y] float64, of the columns in their units; None for private rows, whose
        noisy means are drawn for each fit.
      energy: trace of cov_yy, rounded; 0 for private rows, whose noisy energy is sent
        with the means.
    """

    exponents: np.ndarray
    norm: float
    mean: float
    means: np.ndarray | None
    energy: float


@dataclasses.dataclass(frozen=True)
class Measures:
    """What a pass over rows has seen so far.

    Attributes:
      count: number of rows.
      sums: [d_y] float64, the rows added one after the other.
      least, most: [d_y], smallest and largest number of each column.
      longest: the largest norm of a row.
    """

    count: int
    sums: np.ndarray
    least: np.ndarray
    most: np.ndarray
    longest: float

    @property
    def means(self) -> np.ndarray:
        """[d_y] float64."""
        return self.sums / self.count

    @property
    def largest(self) -> np.ndarray:
        """[d_y], the largest deviation from each column's mean."""
        # Exactly the largest |y - mean| of all rows, because rounding is monotone.
        return np.maximum(self.most - self.means, self.means - self.least)


def row_source(y: Any) -> RowSource:
    """Rows that can be read in blocks; JAX arrays and sequences become numpy arrays.

    Raises:
      ValueError: y has another shape than [n, d_y].
      TypeError: y does not hold numbers.
    """
    if isinstance(y, jax.Array) or not hasattr(y, "shape"):
        y = np.asarray(numeric.numbers("FitProvider", "y", y))
    if len(y.shape) != 2 or y.shape[0] < 2 or y.shape[1] < 1:
        raise ValueError(f"FitProvider: y needs shape [n, d_y], got {tuple(y.shape)}.")
    return y


def float_blocks(source: RowSource) -> Iterator[RowBlock]:
    """Yield the rows in blocks of finite float64, contiguous by row.

    Raises:
      ValueError: a number is not finite.
      TypeError: the rows do not hold numbers.
    """
    for start, block in row_blocks(source):
        block = np.asarray(numeric.numbers("FitProvider", "y", block), np.float64)
        if not np.isfinite(block).all():
            raise ValueError("FitProvider: y must be finite.")
        yield RowBlock(start, np.ascontiguousarray(block))


def measure(block: np.ndarray, before: Measures | None) -> Measures:
    """Update the measures with one more block [rows, d_y] of `float_blocks`."""
    least, most = block.min(axis=0), block.max(axis=0)
    with np.errstate(over="ignore"):  # such sizes are refused at the end
        longest = float(np.linalg.norm(block, axis=1).max())
        if before is None:
            return Measures(len(block), block.sum(axis=0), least, most, longest)
        # Added row by row, so that the sums do not depend on the size of the blocks.
        sums = np.vstack([before.sums, block]).sum(axis=0)
    return Measures(
        before.count + len(block),
        sums,
        np.minimum(before.least, least),
        np.maximum(before.most, most),
        max(before.longest, longest),
    )


def require_measures(measures: Measures, privacy: Privacy | None) -> None:
    """Refuse rows that cannot be turned into integers.

    Raises:
      ValueError: the rows are too large or too small; or they are private, and one is
        longer than 1 or delta is 1 / n or more.
    """
    size = float(max(measures.most.max(), -measures.least.min()))
    if size and not _LEAST < size < _MOST:
        raise ValueError(
            f"FitProvider: the largest |y| is {size:g}; scale y to numbers near 1."
        )
    if privacy is not None:
        privacy.require_rows(measures.count)
        require_longest("FitProvider", measures.longest)


def integer_targets(
    source: RowSource,
    measures: Measures,
    privacy: Privacy | None,
    put: Callable[[RowBlock], None],
) -> Targets:
    """Turn rows into integers: centred, each column in its unit; private uncentred.

    Args:
      source: the rows.
      measures: of all rows.
      privacy: of the rows, or None.
      put: receives blocks of integers, [rows, d_y] int32.
    """
    if privacy is not None:
        for start, block in float_blocks(source):
            integers = unit_integers("FitProvider", block, KERNEL_BITS)
            put(RowBlock(start, integers.astype(INTEGERS)))
        width = len(measures.sums)
        norm, mean = fit_noise.private_bounds(measures.count, width, privacy)
        return Targets(np.full(width, -KERNEL_BITS), norm, mean, None, 0.0)
    means = measures.means
    exponents, constant = fit_bits.column_units(measures.largest, means)
    squares, energies = np.zeros(len(means)), []
    for start, block in float_blocks(source):
        block = block - means
        block[:, constant] = 0.0
        energies.append(float((block**2).sum()))
        block = np.rint(np.ldexp(block, -exponents))
        squares += (block**2).sum(axis=0)  # whole numbers below 2^53
        put(RowBlock(start, block.astype(INTEGERS)))
    scaled = np.ldexp(means, -exponents)
    return Targets(
        exponents,
        float(np.sqrt(squares.max())),
        float(np.abs(scaled).max()),
        scaled,
        _rounded(math.fsum(energies) / measures.count, ENERGY_BITS),
    )


def make_offer(
    targets: Targets,
    rows: int,
    profile: Profile,
    digest: bytes,
    *,
    precision: int | None,
    privacy: Privacy | None,
) -> FitOffer:
    """The public description of rows, for a new fit.

    Args:
      targets: of the rows.
      rows: n.
      profile: of the ring.
      digest: of the rows' names.
      precision: the most bits that one number of the result carries, or None.
      privacy: of the rows, or None.
    """
    room = profile.modulus.bit_length() - 4
    return FitOffer(
        profile,
        os.urandom(16),
        rows,
        digest,
        math.ceil(math.log2(max(targets.norm, 1.0))),
        min(room - int(np.frexp(targets.mean)[1]), MAX_MEAN_SCALE),
        precision if precision and profile.guarded else 0,
        targets.energy,
        privacy.rho if privacy else 0.0,
        targets.exponents,
    )


def chunk_weights(rows: RowSource, plan: FitPlan, number: int) -> list[np.ndarray]:
    """One message's integers [blocks * chunk, targets], a group of columns each.

    Their rows are in the order of `split_limbs`.

    Args:
      rows: [n, d_y] all rows.
      plan: layout of the rows.
      number: of the message.
    """
    size = plan.chunk * plan.blocks
    part = np.asarray(rows[number * size : (number + 1) * size], np.float64)
    part = np.pad(part, ((0, size - len(part)), (0, 0)))
    part = part.reshape(plan.chunk, plan.blocks, -1).swapaxes(0, 1)
    part = part.reshape(size, -1)
    return [
        np.ascontiguousarray(part[:, start : start + TARGETS])
        for start in range(0, part.shape[1], TARGETS)
    ]


def _rounded(value: float, bits: int) -> float:
    """Round a value to `bits` significant bits."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(round(math.ldexp(mantissa, bits)), exponent - bits)
