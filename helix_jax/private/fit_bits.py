"""Bits of an encrypted fit: what its rows hold, and what its results give out.

The provider's rows are integers of KERNEL_BITS bits. The flood leaves `precision` bits
to each number of the result, and the guard asks for rows that hold several times as
many as all results together.
"""

import math
from collections import Counter

import numpy as np

from helix_jax.private import flooding
from helix_jax.private.fit_plan import (
    KERNEL_BITS,
    MAX_EXPONENT,
    MEAN_BITS,
    FitOffer,
    FitPlan,
)

PRECISION = 12  # bits of a result
SHARE = 0.25  # of the bits of the rows that the results of a fit may carry
_RANK_BITS = 12  # below the largest direction of the rows, what is none


def widest_fit(rows: int, *, precision: int, share: float) -> int:
    """Dimensions of the source that the guard allows for so many rows; may be < 1.

    For rows of KERNEL_BITS bits a number; the means count for what they take at most.
    """
    bits = share * rows * KERNEL_BITS - _most_mean_bits(precision)
    return rows if bits == math.inf else int(bits / precision)


def fewest_rows(width: int, *, precision: int, share: float) -> int:
    """The fewest rows of which `widest_fit` allows so many dimensions."""
    bits = width * precision + _most_mean_bits(precision)
    return math.ceil(bits / (share * KERNEL_BITS))


def _most_mean_bits(precision: int) -> int:
    """Bits of one mean, at most."""
    return precision + MEAN_BITS - KERNEL_BITS + 5


def held_bits(rows: np.ndarray) -> float:
    """Bits that rows of integers hold, by what a fit is held to.

    KERNEL_BITS for each number, but of columns with few values (labels, signs) the
    entropy of their values; no more than the different rows and which of them each is;
    and no more than r (n + d_y - r) numbers of rank r have.

    Args:
      rows: [n, d_y] float64, integers of KERNEL_BITS bits and a sign, centred.
    """
    count, total = len(rows), 0.0
    for column in rows.T:
        times = np.unique(column, return_counts=True)[1]
        total += _entropy(times) if len(times) <= count / 2 else KERNEL_BITS
    repeats = Counter(hash((row + 0.0).tobytes()) for row in rows)  # -0.0 is 0.0
    different = len(repeats) * rows.shape[1] * KERNEL_BITS
    different += count * _entropy(np.array(list(repeats.values())))
    products = rows.T @ rows if count >= rows.shape[1] else rows @ rows.T
    spread = np.linalg.eigvalsh(products)
    rank = int((spread > spread[-1] * 4.0**-_RANK_BITS).sum())
    numbers = rank * (count + rows.shape[1] - rank)
    return min(count * total, different, numbers * KERNEL_BITS)


def _entropy(times: np.ndarray) -> float:
    """Bits of a value that is drawn as often as each was seen."""
    shares = times / times.sum()
    return float(-(shares * np.log2(shares)).sum())


def column_units(y: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """log2 of each column's unit: integers of KERNEL_BITS bits, means of MEAN_BITS.

    A column that varies by no more than rounding is constant, and becomes so in place.
    """
    largest = np.abs(y).max(axis=0)
    constant = largest <= 2.0**-40 * np.abs(mean)
    y[:, constant], largest[constant] = 0.0, 0.0
    exponents = np.full(len(mean), -MAX_EXPONENT)
    for values, bits in ((largest, KERNEL_BITS), (np.abs(mean), MEAN_BITS)):
        seen = values > 0
        own = np.frexp(values[seen])[1] - bits
        exponents[seen] = np.maximum(exponents[seen], own)
    return exponents


def result_flood_bits(offer: FitOffer, plan: FitPlan) -> int:
    """log2 R of the flood on every result, which both sides know.

    Args:
      offer: of the fit.
      plan: where its rows lie.
    """
    # |y|_1 <= sqrt(n) |y|_2, and every coefficient of a column's results has its bound.
    norm = math.sqrt(offer.rows) * 2.0**offer.norm_bits
    shift = flooding.shift_bound(np.full(offer.width, norm), offer.profile)
    shift *= math.sqrt(plan.tiles * plan.tile)
    hiding = flooding.flood_bits(shift, offer.profile.statistical_bits)
    return max(hiding, offer.flood_bits)


def result_bits(offer: FitOffer, plan: FitPlan) -> float:
    """Bits that all results carry at most; arguments as `result_flood_bits`."""
    if not offer.profile.guarded:
        return 0.0
    bits = flooding.carried_bits(result_flood_bits(offer, plan), offer.profile)
    return plan.tiles * plan.tile * offer.width * bits


def mean_flood_bits(offer: FitOffer) -> int:
    """log2 R of the flood on the means: 2^-precision of the largest deviation."""
    return offer.mean_bits + KERNEL_BITS - offer.precision


def mean_bits(offer: FitOffer) -> float:
    """Bits that the means carry at most."""
    if not offer.profile.guarded:
        return 0.0
    bits = math.log2(offer.profile.modulus)
    if offer.precision:
        bits = flooding.carried_bits(mean_flood_bits(offer), offer.profile)
    return offer.means * bits
