"""Parameters in memory: their layout, and how file tensors are copied into it.

Casting and transposition are one step, in blocks of a cache line. The check for NaN
needs no temporary of the tensor's size, and only a few pages of a mapped file are held
at a time.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

LINE = 64  # bytes; JAX on a CPU takes arrays aligned to it without a copy
COLUMNS = 16  # transposed at a time; chosen by measurement
PAGES = 2**24  # bytes of a file that are held at a time
_BLOCK = 2**16  # values checked at a time


class Part(NamedTuple):
    """The part of a parameter held here: all of it or what some devices need.

    Attributes:
      index: its place in the parameter, a slice with start and stop per dimension.
      array: the values at that place.
    """

    index: tuple[slice, ...]  # type: ignore[assignment]  # a tuple has a method of this name
    array: np.ndarray

    def of(self, numbers: Sequence[int]) -> tuple[np.ndarray, tuple[slice, ...]] | None:
        """The held part of the tensor with these stack numbers, and its index."""
        stack, own = self.index[: len(numbers)], self.index[len(numbers) :]
        if not all(at.start <= n < at.stop for at, n in zip(stack, numbers)):
            return None
        places = (number - at.start for at, number in zip(stack, numbers))
        return self.array[(*places, ...)], own


def whole(shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The index of a whole array."""
    return tuple(slice(0, size) for size in shape)


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An uninitialised array that begins at a multiple of LINE bytes.

    Raises:
      MemoryError, ValueError, OverflowError: it is too large.
    """
    size = int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize
    raw = np.empty(size + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + size].view(dtype).reshape(shape)


def fill(
    target: np.ndarray, values: np.ndarray, release: Callable[[], object] = lambda: None
) -> None:
    """Write values into a C-ordered target of the same shape, cast to its dtype.

    Args:
      target: array to write to.
      values: in file order, or a transposed view of that.
      release: releases the pages of the file, called after every PAGES bytes of it.
    """
    turned = values.ndim == 2 and values.strides[0] < values.strides[1]
    if turned:  # along the rows of the file
        values, target = values.T, target.T
    values, target = np.atleast_1d(values), np.atleast_1d(target)
    rows = COLUMNS * max(1, PAGES // COLUMNS // max(1, abs(values.strides[0])))
    for start in range(0, len(values), rows):
        block = slice(start, start + rows)
        with np.errstate(over="ignore", invalid="ignore"):
            if turned:
                _fill_columns(target[block].T, values[block].T)
            else:
                target[block] = values[block]
        release()


def _fill_columns(target: np.ndarray, values: np.ndarray) -> None:
    """Cast a block of the file while it is cached, and write lines of the target."""
    for start in range(0, values.shape[1], COLUMNS):
        columns = slice(start, start + COLUMNS)
        target[:, columns] = values[:, columns].astype(target.dtype)


def all_finite(array: np.ndarray) -> bool:
    """Whether no value of a C-ordered array is NaN or infinite."""
    values = array.reshape(-1)
    largest = None
    if array.dtype.itemsize == 2:  # by their bits: numpy has no fast test for these
        largest = np.array(np.inf, array.dtype).view(np.uint16)
        values = values.view(np.uint16)
    for start in range(0, values.size, _BLOCK):
        part = values[start : start + _BLOCK]
        if largest is None:
            finite = np.isfinite(part).all()
        else:
            finite = (part & np.uint16(0x7FFF)).max() < largest
        if not finite:
            return False
    return True
