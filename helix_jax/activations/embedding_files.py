"""Reading files of embeddings: npy, npz, safetensors, Parquet."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow
import pyarrow.compute
import pyarrow.parquet
from safetensors import SafetensorError, safe_open

from helix_jax.errors import StoreError


class Content(NamedTuple):
    """What a file holds, as it holds it.

    Attributes:
      rows: [N, D] array or memory map.
      ids: [N] strings, or None.
      labels: [N] class numbers, None where there is none; or None.
    """

    rows: Any
    ids: Sequence[str] | None = None
    labels: Sequence[int | None] | np.ndarray | None = None


def read_content(path: Path) -> Content:
    """The content of a file, by its suffix.

    Raises:
      StoreError: another suffix, no such file, damaged, or without the named parts.
    """
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise StoreError(
            f"{path} is not a file of embeddings; expected one of {tuple(READERS)}."
        )
    if not path.is_file():
        raise StoreError(f"there is no file {path}.")
    try:
        return READERS[suffix](path)
    except (OSError, ValueError, KeyError, EOFError, SafetensorError) as error:
        if isinstance(error, StoreError):
            raise
        pickled = any(
            word in str(error) for word in ("Object arrays", "Python objects")
        )
        hint = " Its rows may be ragged." if pickled else ""
        raise StoreError(
            f"{path} cannot be read as {suffix[1:]} ({error}).{hint} Write it again."
        ) from error


def _read_npy(path: Path) -> Content:
    return Content(np.load(path, mmap_mode="r", allow_pickle=False), None, None)


def _read_npz(path: Path) -> Content:
    with np.load(path, allow_pickle=False) as arrays:
        if "embeddings" not in arrays:
            raise StoreError(
                f"{path} holds the arrays {sorted(arrays)}; expected 'embeddings', "
                "'ids' and perhaps 'labels'."
            )
        ids = [str(own) for own in arrays["ids"]] if "ids" in arrays else None
        labels = arrays.get("labels")
        return Content(arrays["embeddings"], ids, labels)


def _read_safetensors(path: Path) -> Content:
    with safe_open(path, framework="numpy") as tensors:
        names = set(tensors.keys()) - {"labels"}
        name = "embeddings" if "embeddings" in names else next(iter(names), None)
        if name is None or (name != "embeddings" and len(names) > 1):
            raise StoreError(
                f"{path} holds the tensors {sorted(tensors.keys())}; expected "
                "'embeddings' [N, D] and perhaps 'labels'."
            )
        metadata = tensors.metadata() or {}
        ids = json.loads(metadata["ids"]) if "ids" in metadata else None
        ids = None if ids is None else [str(own) for own in ids]
        has_labels = "labels" in tensors.keys()  # noqa: SIM118 (not a dict)
        labels = tensors.get_tensor("labels") if has_labels else None
        return Content(tensors.get_tensor(name), ids, labels)


def _read_parquet(path: Path) -> Content:
    schema = pyarrow.parquet.read_schema(path)
    missing = {"id", "embedding"} - set(schema.names)
    if missing:
        raise StoreError(
            f"{path} has the columns {schema.names}; expected 'id', 'embedding' and "
            "perhaps 'label'."
        )
    wanted = ["id", "embedding"] + ["label"] * ("label" in schema.names)
    table = pyarrow.parquet.read_table(path, columns=wanted).combine_chunks()
    ids = [str(own) for own in table["id"].to_pylist()]
    labels = table["label"].to_pylist() if "label" in wanted else None
    vectors = table["embedding"]
    if vectors.null_count:
        row = vectors.is_null().to_pylist().index(True)
        raise StoreError(f"{path}: the embedding of {ids[row]!r} is null.")
    if not (
        pyarrow.types.is_list(vectors.type)
        or pyarrow.types.is_large_list(vectors.type)
        or pyarrow.types.is_fixed_size_list(vectors.type)
    ):
        raise StoreError(
            f"{path}: the column 'embedding' has type {vectors.type}, expected lists "
            "of numbers."
        )
    widths = np.asarray(pyarrow.compute.list_value_length(vectors))
    unequal = np.flatnonzero(widths != widths[0]) if len(widths) else []
    if len(unequal):
        row = unequal[0]
        raise StoreError(
            f"{path} is ragged: the embedding of {ids[row]!r} has {widths[row]} "
            f"numbers, that of {ids[0]!r} has {widths[0]}."
        )
    flat = pyarrow.compute.list_flatten(vectors).to_numpy()
    return Content(flat.reshape(len(ids), -1), ids, labels)


READERS = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".safetensors": _read_safetensors,
    ".parquet": _read_parquet,
}
