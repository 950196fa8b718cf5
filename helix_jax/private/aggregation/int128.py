"""Vectors of integers modulo 2^128 as pairs of 64-bit words, and operations on them.

A vector of L integers is an array [2, L] of uint64: row 0 holds the low words, row 1
the high words; negative integers are in two's complement. Long vectors are processed in
blocks that stay in the cache, so that an addition costs one pass over the memory.
"""

from collections.abc import Iterator

import numpy as np

BLOCK = 1 << 14
_LOW = np.uint64(2**32 - 1)
_HALF = np.uint64(32)


def zeros(length: int) -> np.ndarray:
    """[2, length] of zeros."""
    return np.zeros((2, length), np.uint64)


def require_words(who: str, words: np.ndarray, length: int) -> None:
    """Raise ValueError unless `words` is [2, length] uint64."""
    shape, dtype = np.shape(words), getattr(words, "dtype", None)
    if shape != (2, length) or dtype != np.uint64:
        raise ValueError(
            f"{who}: words need shape [2, {length}] and dtype uint64, got "
            f"{list(shape)} and {dtype}. `encode` makes them."
        )


def blocks(length: int) -> Iterator[slice]:
    """Yield the slices of BLOCK elements that cover a vector."""
    for start in range(0, length, BLOCK):
        yield slice(start, min(start + BLOCK, length))


def add(words: np.ndarray, other: np.ndarray) -> None:
    """words += other modulo 2^128, in place; both [2, L]."""
    for part in blocks(words.shape[1]):
        low, high = words[0, part], words[1, part]
        low += other[0, part]
        high += other[1, part]
        high += low < other[0, part]


def subtract(words: np.ndarray, other: np.ndarray) -> None:
    """words -= other modulo 2^128, in place; both [2, L]."""
    for part in blocks(words.shape[1]):
        low, high = words[0, part], words[1, part]
        high -= low < other[0, part]
        low -= other[0, part]
        high -= other[1, part]


def multiply(vector: np.ndarray, factor: int) -> np.ndarray:
    """A vector of small integers times one large integer, modulo 2^128.

    The product of the low words is computed in 32-bit halves (schoolbook, Knuth 4.3.1).

    Args:
      vector: [L] int64.
      factor: any integer; taken modulo 2^128.

    Returns:
      [2, L] uint64.
    """
    low, sign = vector.view(np.uint64), (vector >> 63).view(np.uint64)
    factor_low = np.uint64(factor & (2**64 - 1))
    factor_high = np.uint64((factor >> 64) & (2**64 - 1))
    a0, a1 = low & _LOW, low >> _HALF
    b0, b1 = factor_low & _LOW, factor_low >> _HALF
    middle = a1 * b0 + (a0 * b0 >> _HALF)
    other = a0 * b1 + (middle & _LOW)
    high = a1 * b1 + (middle >> _HALF) + (other >> _HALF)
    high += low * factor_high + sign * factor_low
    return np.stack([low * factor_low, high])


def from_float(values: np.ndarray) -> np.ndarray:
    """Nearest integers, exact: [L] float64 of magnitude below 2^127 -> [2, L]."""
    size = np.rint(np.abs(values))
    high = np.floor(np.ldexp(size, -64))
    low = size - np.ldexp(high, 64)
    words = np.stack([low.astype(np.uint64), high.astype(np.uint64)])
    return _negate_where(values < 0, words)


def to_float(words: np.ndarray) -> np.ndarray:
    """Signed integers as float64, off by at most two units in the last place."""
    negative = words[1] >> np.uint64(63) == 1
    low, high = _negate_where(negative, words)
    size = np.ldexp(high.astype(np.float64), 64) + low.astype(np.float64)
    return np.where(negative, -size, size)


def to_integers(words: np.ndarray) -> np.ndarray:
    """Signed Python integers, [L] object; slow, for short vectors."""
    low, high = words[0].astype(object), words[1].view(np.int64).astype(object)
    return high * 2**64 + low


def _negate_where(condition: np.ndarray, words: np.ndarray) -> np.ndarray:
    """-words = ~words + 1 where the condition holds, with a carry where low is zero."""
    low = np.where(condition, ~words[0] + np.uint64(1), words[0])
    high = np.where(condition, ~words[1] + (words[0] == 0), words[1])
    return np.stack([low, high])
