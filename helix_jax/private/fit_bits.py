"""Bits of an encrypted fit: what its rows hold, and what its results reveal.

The provider's rows are integers of KERNEL_BITS bits. The flood leaves `precision` bits
in each number of the result, and the guard requires rows that hold several times as
many bits as all results together.
"""

import hashlib
import math
from collections.abc import Iterator

import numpy as np

from helix_jax.private import flooding
from helix_jax.private.fit_plan import (
    KERNEL_BITS,
    MAX_EXPONENT,
    MEAN_BITS,
    FitOffer,
    FitPlan,
)
from helix_jax.private.row_blocks import INTEGERS, RowSource, row_blocks

_RANK_BITS = 12  # directions this far below the largest do not count
_COLUMNS = 256  # whose values are counted in one pass
_ROWS = 2**13  # whose values are counted at once


def widest_fit(rows: int, *, precision: int, share: float) -> int:
    """The widest source that the guard allows for this number of rows; may be < 1.

    It assumes rows that hold KERNEL_BITS bits per number, and means of the most bits.
    """
    bits = share * rows * KERNEL_BITS - _most_mean_bits(precision)
    return rows if bits == math.inf else int(bits / precision)


def fewest_rows(width: int, *, precision: int, share: float) -> int:
    """The fewest rows for which `widest_fit` allows a source of this width."""
    bits = width * precision + _most_mean_bits(precision)
    return math.ceil(bits / (share * KERNEL_BITS))


def _most_mean_bits(precision: int) -> int:
    """Bits of one mean, at most."""
    return precision + MEAN_BITS - KERNEL_BITS + 5


def held_bits(rows: RowSource) -> float:
    """Bits that rows of integers hold, as the guard counts them.

    KERNEL_BITS for each number, or in columns with few distinct values (labels, signs)
    the entropy of these values; at most what it takes to list the distinct rows and to
    say which of them each row is; and at most KERNEL_BITS for each of the
    r (n + d_y - r) numbers that determine a matrix of rank r.

    Args:
      rows: [n, d_y] integers of KERNEL_BITS bits and a sign, centred, read in blocks.
    """
    (count, width), total = rows.shape, 0.0
    for times in _column_times(rows):
        total += _entropy(times) if len(times) <= count / 2 else KERNEL_BITS
    repeats = _row_times(rows)
    different = len(repeats) * width * KERNEL_BITS + count * _entropy(repeats)
    spread = np.linalg.eigvalsh(_products(rows))
    rank = int((spread > spread[-1] * 4.0**-_RANK_BITS).sum())
    numbers = rank * (count + width - rank)
    return min(count * total, different, numbers * KERNEL_BITS)


def _column_times(rows: RowSource) -> Iterator[np.ndarray]:
    """How often each value of a column occurs, column by column."""
    most = 2**KERNEL_BITS
    for first in range(0, rows.shape[1], _COLUMNS):
        columns = min(_COLUMNS, rows.shape[1] - first)
        counts = np.zeros((columns, 2 * most + 1), np.int32)
        gathered, held = [], 0
        for start, block in row_blocks(rows):
            values = block[:, first : first + columns].T.astype(INTEGERS, order="C")
            gathered.append(values + most)
            held += len(block)
            # Each count passes over a table of all values, however few rows there are.
            if held >= _ROWS or start + len(block) == rows.shape[0]:
                _count(counts, np.concatenate(gathered, axis=1))
                gathered, held = [], 0
        for own in counts:
            yield own[own > 0]


def _count(counts: np.ndarray, values: np.ndarray) -> None:
    """Add `values` [columns, rows], none negative, to counts [columns, all values]."""
    for own, column in zip(counts, values):
        own += np.bincount(column, minlength=len(own)).astype(np.int32)


def _row_times(rows: RowSource) -> np.ndarray:
    """How often each distinct row occurs, in the order of first occurrence."""
    digests = np.empty((rows.shape[0], 2), np.uint64)
    for start, block in row_blocks(rows):
        each = (
            hashlib.blake2b(row, digest_size=16).digest()
            for row in np.ascontiguousarray(block, INTEGERS)
        )
        own = np.frombuffer(b"".join(each), np.uint64).reshape(-1, 2)
        digests[start : start + len(own)] = own
    order = np.lexsort(digests.T)  # stable: equal rows stay in order
    digests = digests[order]
    new = np.append(True, (digests[1:] != digests[:-1]).any(axis=1))
    first = np.flatnonzero(new)
    times = np.diff(np.append(first, len(order)))
    return times[np.argsort(order[first])]


def _products(rows: RowSource) -> np.ndarray:
    """The smaller of Y' Y and Y Y', float64; exact, as sums of integers."""
    count, width = rows.shape
    if count < width:
        every = np.asarray(rows[0:count], np.float64)
        return every @ every.T
    total = np.zeros((width, width))
    for _, block in row_blocks(rows):
        block = np.asarray(block, np.float64)
        total += block.T @ block
    return total


def _entropy(times: np.ndarray) -> float:
    """Entropy, in bits, of the distribution that the counts give."""
    shares = times / times.sum()
    return float(-(shares * np.log2(shares)).sum())


def column_units(
    largest: np.ndarray, mean: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """log2 of each column's unit: integers of KERNEL_BITS bits, means of MEAN_BITS.

    Args:
      largest: [d_y] the largest deviation from each column's mean.
      mean: [d_y].

    Returns:
      [d_y] int; and [d_y] bool, the columns that vary by no more than rounding.
    """
    constant = largest <= 2.0**-40 * np.abs(mean)
    largest = np.where(constant, 0.0, largest)
    exponents = np.full(len(mean), -MAX_EXPONENT)
    for values, bits in ((largest, KERNEL_BITS), (np.abs(mean), MEAN_BITS)):
        seen = values > 0
        own = np.frexp(values[seen])[1] - bits
        exponents[seen] = np.maximum(exponents[seen], own)
    return exponents, constant


def result_flood_bits(offer: FitOffer, plan: FitPlan) -> int:
    """log2 R of the flood on every result, which both sides know.

    Args:
      offer: of the fit.
      plan: layout of its rows.
    """
    # |y|_1 <= sqrt(n) |y|_2 bounds every coefficient of a column's results.
    norm = math.sqrt(offer.rows) * 2.0**offer.norm_bits
    shift = flooding.shift_bound(np.full(offer.width, norm), offer.profile)
    shift *= math.sqrt(plan.tiles * plan.tile)
    hiding = flooding.flood_bits(shift, offer.profile.statistical_bits)
    return max(hiding, offer.flood_bits)


def result_bits(offer: FitOffer, plan: FitPlan) -> float:
    """The most bits that all results carry; arguments as `result_flood_bits`."""
    if not offer.profile.guarded:
        return 0.0
    bits = flooding.carried_bits(result_flood_bits(offer, plan), offer.profile)
    return plan.tiles * plan.tile * offer.width * bits


def mean_flood_bits(offer: FitOffer) -> int:
    """log2 R of the flood on the means: 2^-precision of the largest deviation."""
    return offer.mean_bits + KERNEL_BITS - offer.precision


def mean_bits(offer: FitOffer) -> float:
    """The most bits that all means carry together."""
    if not offer.profile.guarded:
        return 0.0
    bits = math.log2(offer.profile.modulus)
    if offer.precision:
        bits = flooding.carried_bits(mean_flood_bits(offer), offer.profile)
    return offer.means * bits
