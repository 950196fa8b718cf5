"""Reading files of embeddings: npy, npz, safetensors, Parquet."""

import collections
import os
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow
import pyarrow.compute
import pyarrow.parquet
from safetensors import SafetensorError, safe_open

from helix_jax.array_files import map_safetensors
from helix_jax.errors import StoreError
from helix_jax.paths import os_errors
from helix_jax.text.ids import read_id
from helix_jax.textfile import parse_json

_DAMAGED = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
    SafetensorError,
    pyarrow.ArrowException,
)


class Content(NamedTuple):
    """The content of a file, as stored.

    Attributes:
      rows: [N, D] array or memory map.
      ids: [N] strings, or None.
      labels: [N] numpy array, or list of integers and None; or None.
    """

    rows: Any
    ids: list[str] | None = None
    labels: Sequence[int | None] | np.ndarray | None = None


def read_content(path: Path) -> Content:
    """The content of a file, by its suffix.

    Raises:
      StoreError: the suffix is unknown, the file is missing, damaged or lacks a named
        part, two parts share a name, or an id is neither a string nor an integer.
    """
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise StoreError(
            f"{path} is not a file of embeddings; expected one of {tuple(READERS)}."
        )
    if not os.path.exists(path):  # unlike Path.exists, it accepts names of any length
        raise StoreError(f"there is no file {path}.")
    with os_errors(path, "be read", StoreError):
        path.open("rb").close()
    try:
        return READERS[suffix](path)
    except _DAMAGED as error:
        if isinstance(error, StoreError):
            raise
        pickled = any(
            word in str(error) for word in ("Object arrays", "Python objects")
        )
        hint = " Its rows may be ragged." if pickled else ""
        raise StoreError(
            f"{path} cannot be read as {suffix[1:]} ({' '.join(str(error).split())})."
            f"{hint} Write it again."
        ) from error


def _read_npy(path: Path) -> Content:
    rows = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(rows, np.ndarray):
        rows.close()
        raise StoreError(f"{path} holds several arrays; give it the suffix .npz.")
    return Content(rows, None, None)


def _read_npz(path: Path) -> Content:
    arrays = np.load(path, allow_pickle=False)
    if isinstance(arrays, np.ndarray):
        raise StoreError(f"{path} holds one array alone; give it the suffix .npy.")
    with arrays:
        _check_names(path, "arrays", arrays.files, plural=True)
        if "embeddings" not in arrays:
            raise StoreError(
                f"{path} holds the arrays {sorted(arrays)}; expected 'embeddings', "
                "'ids' and perhaps 'labels'."
            )
        ids = None
        if "ids" in arrays:
            if arrays["ids"].ndim != 1:
                raise StoreError(
                    f"{path}: ids must be one a row, got {list(arrays['ids'].shape)}."
                )
            ids = _read_ids(path, arrays["ids"].tolist())
        return Content(arrays["embeddings"], ids, arrays.get("labels"))


def _read_safetensors(path: Path) -> Content:
    with safe_open(path, framework="numpy") as tensors:
        with path.open(
            "rb"
        ) as stream:  # the module's own reader takes the last of two equal names
            size = int.from_bytes(stream.read(8), "little")
            parse_json(stream.read(size), str(path), raises=StoreError, jsonl=True)
        held = sorted(tensors.keys())
        _check_names(path, "tensors", held, plural=True)
        names = set(held) - {"labels"}
        name = "embeddings" if "embeddings" in names else next(iter(names), None)
        if name is None or (name != "embeddings" and len(names) > 1):
            raise StoreError(
                f"{path} holds the tensors {held}; expected 'embeddings' [N, D] and "
                "perhaps 'labels'."
            )
        metadata, ids = tensors.metadata() or {}, None
        if "ids" in metadata:
            where = f"{path}, metadata 'ids'"
            ids = parse_json(metadata["ids"], where, raises=StoreError)
            if not isinstance(ids, list):
                raise StoreError(
                    f"{where}: must be a JSON list of strings, found "
                    f"{type(ids).__name__}."
                )
            ids = _read_ids(path, ids)
        labels = tensors.get_tensor("labels") if "labels" in held else None
        if 0 in tensors.get_slice(name).get_shape():  # which cannot be mapped
            return Content(tensors.get_tensor(name), ids, labels)
    return Content(map_safetensors(path, name), ids, labels)


def _read_parquet(path: Path) -> Content:
    schema = parquet_schema(path)
    wanted = ["id", "embedding"] + ["label"] * ("label" in schema.names)
    table = pyarrow.parquet.read_table(path, columns=wanted).combine_chunks()
    ids = _read_ids(path, table["id"].to_pylist())
    labels = None
    if "label" in wanted:
        kind = table["label"].type
        if not (pyarrow.types.is_integer(kind) or pyarrow.types.is_null(kind)):
            raise StoreError(
                f"{path}: labels must be {len(ids)} class numbers, got {kind}."
            )
        labels = table["label"].to_pylist()
    vectors = table["embedding"].combine_chunks()  # one array of one chunk
    return Content(rows_of_lists(path, vectors, ids=ids), ids, labels)


def parquet_schema(path: Path) -> pyarrow.Schema:
    """The columns of a file of embeddings, without reading its rows.

    Raises:
      StoreError: the column "id" or "embedding" is missing, or two share a name.
    """
    schema = pyarrow.parquet.read_schema(path)
    _check_names(path, "columns", schema.names, plural=False)
    missing = {"id", "embedding"} - set(schema.names)
    if missing:
        raise StoreError(
            f"{path} has the columns {schema.names}; expected 'id', 'embedding' and "
            "perhaps 'label'."
        )
    kind = schema.field("embedding").type
    if not (
        pyarrow.types.is_list(kind)
        or pyarrow.types.is_large_list(kind)
        or pyarrow.types.is_fixed_size_list(kind)
    ):
        raise StoreError(
            f"{path}: the column 'embedding' has type {kind}, expected lists of "
            "numbers."
        )
    return schema


def rows_of_lists(
    path: Path,
    vectors: pyarrow.Array,
    *,
    ids: Sequence[Any],
    width: int | None = None,
    start: int = 0,
) -> np.ndarray:
    """The numbers [n, D] of n lists, without a copy if there are no nulls.

    Args:
      path: of the file, for messages.
      vectors: lists of numbers.
      ids: [n] of the rows, for messages.
      width: that all lists must have; None: that of the first.
      start: row of the file that comes first.

    Raises:
      StoreError: a list or a number is null, or a list has another length.
    """

    def where(row: int) -> str:
        own = ids[row].as_py() if isinstance(ids, pyarrow.Array) else ids[row]
        return f"row {start + row} (counting from 0), {own!r}"

    if vectors.null_count:
        row = vectors.is_null().to_pylist().index(True)
        raise StoreError(f"{path}: the embedding of {where(row)} is null.")
    widths = np.asarray(pyarrow.compute.list_value_length(vectors))
    wanted = width if width is not None or not len(widths) else int(widths[0])
    unequal = np.flatnonzero(widths != wanted)
    if len(unequal):
        row = int(unequal[0])
        raise StoreError(
            f"{path} is ragged: the embedding of {where(row)} has {widths[row]} "
            f"numbers, the first one has {wanted}."
        )
    flat = vectors.flatten()
    if flat.null_count:
        row = flat.is_null().to_pylist().index(True) // wanted
        raise StoreError(f"{path}: the embedding of {where(row)} holds a null.")
    return flat.to_numpy(zero_copy_only=False).reshape(len(vectors), -1)


def _read_ids(path: Path, values: Iterable[Any]) -> list[str]:
    """The ids as strings; integers and UTF-8 bytes are converted."""
    return [
        read_id(value, f"{path}, row {row} (counting from 0)", raises=StoreError)
        for row, value in enumerate(values)
    ]


def _check_names(path: Path, what: str, names: Sequence[str], *, plural: bool) -> None:
    """Refuse two parts with one name, and misspelt names (a plural, a capital)."""
    twice = [name for name, times in collections.Counter(names).items() if times > 1]
    if twice:
        raise StoreError(
            f"{path} holds two {what} called {twice[0]!r}. Write it again with one."
        )
    for one in ("id", "label", "embedding"):
        right = f"{one}s" if plural else one
        near = [name for name in names if name.strip().lower() in (one, f"{one}s")]
        if near and right not in names:
            raise StoreError(
                f"{path} holds the {what} {sorted(names)}; {near[0]!r} must be called "
                f"{right!r} here."
            )


READERS = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".safetensors": _read_safetensors,
    ".parquet": _read_parquet,
}
