"""Files of embeddings of any size, read in blocks: npy, safetensors, Parquet.

    vectors = open_vectors("vectors.parquet")
    for block in vectors.blocks(start=0, size=8192, every=65536): ...

A block holds rows and their other columns. Only a block of the file is held at a time:
npy and safetensors are read in place, Parquet by row groups.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pyarrow
import pyarrow.parquet

from helix_jax.activations.embedding_files import (
    parquet_schema,
    read_content,
    rows_of_lists,
)
from helix_jax.errors import StoreError
from helix_jax.paths import os_errors
from helix_jax.textfile import read_lines

STREAMED = (".npy", ".safetensors", ".parquet")
_ENDS_BYTES = 1 << 20
_READ_BYTES = 1 << 22  # of a Parquet column at a time, if its row groups are
_LARGE_BYTES = 128 << 20  # larger than this; others are read whole, which is faster


class Block(NamedTuple):
    """Some rows.

    Attributes:
      start: row of the file that comes first.
      x: [n, D] of any dtype.
      beside: name -> n values of each other column: Arrow arrays for Parquet, lists of
        ids or arrays of labels for the others.
    """

    start: int
    x: np.ndarray
    beside: Mapping[str, Any]

    def cut(self, first: int, last: int) -> "Block":
        """Rows first..last - 1 of the block."""
        beside = {name: own[first:last] for name, own in self.beside.items()}
        return Block(self.start + first, self.x[first:last], beside)


class Vectors(NamedTuple):
    """An open file of embeddings.

    Attributes:
      path: of the file.
      count, width: N, D.
      item_bytes: of a number.
      schema: of Parquet.
      reader: (start, size, every) -> blocks, see `blocks`.
    """

    path: Path
    count: int  # type: ignore[assignment]  # a tuple has a method of this name
    width: int
    item_bytes: int
    schema: pyarrow.Schema | None
    reader: Callable[[int, int, int], Iterator[Block]]

    def blocks(self, start: int, size: int, every: int) -> Iterator[Block]:
        """Blocks from a row to the end; the same ones wherever reading starts.

        Args:
          start: first row, a multiple of `every`.
          size: most rows of a block.
          every: no block crosses a multiple of this.

        Raises:
          StoreError: a row cannot be read; says its number.
        """
        with os_errors(self.path, "be read", StoreError):
            for block in self.reader(start, size, every):
                first = block.start
                while first < (stop := block.start + len(block.x)):
                    last = min(stop, (first // every + 1) * every)
                    if first >= start:
                        yield block.cut(first - block.start, last - block.start)
                    first = last

    def record(self) -> dict[str, Any]:
        """The identity of this file: sizes, and the SHA-256 of both ends."""
        size = self.path.stat().st_size
        digest = hashlib.sha256()
        with self.path.open("rb") as stream:
            digest.update(stream.read(_ENDS_BYTES))
            stream.seek(max(0, size - _ENDS_BYTES))
            digest.update(stream.read(_ENDS_BYTES))
        shape = {"bytes": size, "rows": self.count, "width": self.width}
        return {"name": self.path.name, "ends_sha256": digest.hexdigest(), **shape}


def open_vectors(path: Path) -> Vectors:
    """Open a file of embeddings for reading in blocks.

    Args:
      path: .npy (with ids, if any, in FILE.ids.txt), .safetensors or .parquet, as
        described in `activations.embeddings`.

    Raises:
      StoreError: the file is missing, damaged, of another format, without rows or not a
        matrix of numbers, or ids and rows differ in number.
    """
    suffix = path.suffix.lower()
    if suffix not in STREAMED:
        raise StoreError(
            f"{path} cannot be read in blocks; expected one of {STREAMED}. Write an "
            "npz as npy: np.save(FILE, np.load(NPZ)['embeddings'])."
        )
    with os_errors(path, "be read", StoreError):
        path.open("rb").close()
    found = _open_parquet(path) if suffix == ".parquet" else _open_matrix(path)
    if not found.count or not found.width:
        raise StoreError(f"{path}: expected rows of numbers, found none.")
    return found


def _open_parquet(path: Path) -> Vectors:
    try:
        schema = parquet_schema(path)
        file = pyarrow.parquet.ParquetFile(path)
        groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
        file.close()
    except pyarrow.ArrowException as error:
        raise _damaged(path, error) from error
    largest = max((group.total_byte_size for group in groups), default=0)
    buffered = _READ_BYTES if largest > _LARGE_BYTES else 0
    starts = [0, *itertools.accumulate(group.num_rows for group in groups)]

    def read(start: int, size: int, _: int) -> Iterator[Block]:
        with pyarrow.parquet.ParquetFile(
            path, buffer_size=buffered, pre_buffer=False
        ) as file:
            for group in range(sum(one <= start for one in starts[1:]), len(groups)):
                row = starts[group]
                for batch in _batches(path, file, group, size):
                    if row + len(batch) > start:
                        yield _of_batch(path, batch, row, width)
                    row += len(batch)

    item = schema.field("embedding").type.value_type
    width = _first_width(path)
    return Vectors(path, starts[-1], width, item.bit_width // 8, schema, read)


def _batches(
    path: Path, file: pyarrow.parquet.ParquetFile, group: int, size: int
) -> Iterator[pyarrow.RecordBatch]:
    try:
        yield from file.iter_batches(size, [group])
    except (pyarrow.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def _of_batch(path: Path, batch: pyarrow.RecordBatch, row: int, width: int) -> Block:
    beside = {
        name: column
        for name, column in zip(batch.schema.names, batch.columns)
        if name != "embedding"
    }
    ids = beside["id"]
    if ids.null_count:
        bad = row + ids.is_null().to_pylist().index(True)
        raise StoreError(f"{path}: the id of row {bad} (counting from 0) is null.")
    vectors = batch.column("embedding")
    x = rows_of_lists(path, vectors, ids=ids, width=width, start=row)
    return Block(row, x, beside)


def _first_width(path: Path) -> int:
    """Width of the first row; 0 for a file without rows."""
    try:
        with pyarrow.parquet.ParquetFile(path, pre_buffer=False) as file:
            batch = next(file.iter_batches(1, columns=["embedding"]), None)
    except (pyarrow.ArrowException, OSError) as error:
        raise _damaged(path, error) from error
    if batch is None or not len(batch):
        return 0
    return len(batch.column(0)[0].as_py() or ())


def _open_matrix(path: Path) -> Vectors:
    content = read_content(path)
    rows, labels = content.rows, content.labels
    number = rows.dtype == ml_dtypes.bfloat16 or rows.dtype.kind in "fiu"
    if rows.ndim != 2 or not number:
        raise StoreError(
            f"{path}: embeddings must be [N, D] numbers, got "
            f"{rows.dtype}{list(rows.shape)}."
        )
    listed = path.with_suffix(".ids.txt")
    if content.ids is None and listed.exists():
        held = sum(1 for _ in read_lines(listed, raises=StoreError))
        if held != len(rows):
            raise StoreError(
                f"{path} has {len(rows)} rows and {listed} has {held} ids; expected "
                "one id for each row, in the same order."
            )

    def ids_from(start: int) -> Iterator[str] | None:
        if content.ids is not None:
            return itertools.islice(content.ids, start, None)
        if not listed.exists():
            return None
        lines = itertools.islice(read_lines(listed, raises=StoreError), start, None)
        return (line.removesuffix("\n") for line in lines)

    def read(start: int, size: int, every: int) -> Iterator[Block]:
        ids, last = ids_from(start), start
        while (first := last) < len(rows):
            last = min(first + size, (first // every + 1) * every, len(rows))
            beside: dict[str, Any] = {}
            if ids is not None:
                beside["ids"] = list(itertools.islice(ids, last - first))
            if labels is not None:
                beside["labels"] = labels[first:last]
            yield Block(first, _read_rows(path, rows, first, last), beside)

    return Vectors(path, len(rows), rows.shape[1], rows.dtype.itemsize, None, read)


def _read_rows(path: Path, rows: np.ndarray, first: int, last: int) -> np.ndarray:
    """Rows of a memory map, copied so that no pages of the file are kept in memory."""
    if not isinstance(rows, np.memmap) or not rows.flags.c_contiguous:
        return np.asarray(rows[first:last])
    width = rows.shape[1]
    count, begin = (last - first) * width, first * width * rows.dtype.itemsize
    flat = np.fromfile(path, rows.dtype, count, offset=rows.offset + begin)
    return flat.reshape(-1, width)


def _damaged(path: Path, error: Exception) -> StoreError:
    said = " ".join(str(error).split())
    return StoreError(f"{path} cannot be read as parquet ({said}). Write it again.")
