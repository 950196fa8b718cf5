"""Arrays of rows in the folder of a store."""

from typing import Any

import numpy as np
import tensorstore as ts

from helix_jax.storage import Folder, read_bytes, settle, shared_context
from helix_jax.storage_errors import STORAGE_ERRORS, read_error, write_error

_AGAIN = "delete it and extract it again"


def open_array(
    folder: Folder,
    key: str,
    *,
    create: bool = False,
    dtype: str = "float32",
    width: int | None = None,
    chunk_rows: int = 1,
) -> ts.TensorStore:
    """Open a zarr3 array of rows, or create an empty one that can grow.

    Chunks are plain little-endian bytes with a checksum; reading a missing or damaged
    chunk is an error and never gives zeros.

    Args:
      folder: the location.
      key: the array's folder.
      create: make it, without rows, unless it exists.
      dtype, width, chunk_rows: of a new array, [N, width], or [N] if width is None.

    Raises:
      StoreError: the array is missing or damaged, or cannot be made.
    """
    root = folder.spec
    spec: dict[str, Any] = {
        "driver": "zarr3",
        "kvstore": f"{root}{key}/"
        if isinstance(root, str)
        else {**root, "path": f"{root['path']}{key}/"},
        "fill_missing_data_reads": False,
        "store_data_equal_to_fill_value": True,
    }
    # A killed run leaves an array with rows, unlike a new one.
    create = create and read_bytes(folder, f"{key}/zarr.json") is None
    if create:
        tail = [] if width is None else [width]
        spec["metadata"] = {
            "shape": [0, *tail],
            "data_type": dtype,
            "chunk_grid": {
                "name": "regular",
                "configuration": {"chunk_shape": [chunk_rows, *tail]},
            },
            "codecs": [
                {"name": "bytes", "configuration": {"endian": "little"}},
                {"name": "crc32c"},
            ],
        }
    try:
        opened = ts.open(spec, open=True, create=create, context=shared_context())
        return settle(folder, opened)
    except STORAGE_ERRORS as error:
        if create:
            raise write_error(folder, key, 0, error) from error
        raise read_error(
            folder,
            key,
            error,
            doing="opened",
            otherwise=("the store is damaged", _AGAIN),
        ) from error


def read_rows(
    folder: Folder, key: str, array: ts.TensorStore, rows: slice | np.ndarray
) -> np.ndarray:
    """Rows of an array, in the array's own dtype."""
    try:
        chosen = array[rows]
        return settle(
            folder, chosen.read(), chosen.size * chosen.dtype.numpy_dtype.itemsize
        )
    except STORAGE_ERRORS as error:
        raise read_error(
            folder, key, error, otherwise=("the store is damaged", _AGAIN)
        ) from error
