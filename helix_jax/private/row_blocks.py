"""Rows in blocks, never all at once: from an array, a store's reader or a file."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from helix_jax.errors import StoreError
from helix_jax.paths import os_errors

NUMBERS = 2**20  # in one block; the rounding of sums over blocks depends on it

INTEGERS = np.dtype("<i4")


class RowSource(Protocol):
    """A source of rows: it has a shape, and its slices of rows are arrays."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, d)."""

    def __getitem__(self, rows: slice) -> Any:
        """Rows start to stop."""


class RowBlock(NamedTuple):
    """Some rows, and the number of the first."""

    start: int
    rows: Any


def row_blocks(rows: RowSource) -> Iterator[RowBlock]:
    """Yield all rows in order, about NUMBERS numbers at a time.

    Args:
      rows: [n, d], d >= 1.
    """
    count, width = rows.shape
    step = max(1, NUMBERS // width)
    for start in range(0, count, step):
        yield RowBlock(start, rows[start : min(start + step, count)])


class RowFile:
    """Integer rows in a file: slices are read on demand, without memory mapping.

    Attributes:
      shape: (n, d).
    """

    def __init__(self, path: Path, shape: tuple[int, ...]):
        """Open the file; it stays open even if another file takes its name.

        Args:
          path: of n d integers of 32 bits, little-endian, row by row.
          shape: (n, d).

        Raises:
          StoreError: it cannot be read, or has another size.
        """
        self.shape, self._path = shape, path
        with os_errors(path, "be read", StoreError):
            self._stream = path.open("rb", buffering=0)
            size = os.fstat(self._stream.fileno()).st_size
        expected = shape[0] * shape[1] * INTEGERS.itemsize
        if size != expected:
            self._stream.close()
            raise StoreError(
                f"{path} is damaged: {size} bytes, expected {expected} of {shape[0]} "
                f"rows of width {shape[1]}. Remove it; it is made again."
            )

    def __len__(self) -> int:
        """n."""
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Rows [stop - start, d] int32.

        Raises:
          StoreError: they cannot be read.
        """
        start, stop, step = rows.indices(self.shape[0])
        if step != 1:
            raise ValueError(f"rows of a file are read in order, got a step of {step}.")
        part = np.empty((max(stop - start, 0), self.shape[1]), INTEGERS)
        left = memoryview(part.reshape(-1).view(np.uint8))
        place = start * self.shape[1] * INTEGERS.itemsize
        with os_errors(self._path, "be read", StoreError):
            while left:
                # At an offset, since threads and forks share the file's position.
                done = os.preadv(self._stream.fileno(), [left], place)
                if not done:
                    raise StoreError(
                        f"{self._path} was cut short while it was read. Remove it; it "
                        "is made again."
                    )
                left, place = left[done:], place + done
        return part

    def digest(self) -> bytes:
        """SHA-256 of the file.

        Raises:
          StoreError: it cannot be read.
        """
        with os_errors(self._path, "be read", StoreError):
            self._stream.seek(0)
            return hashlib.file_digest(self._stream, "sha256").digest()
