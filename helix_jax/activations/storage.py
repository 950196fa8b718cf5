"""Where a store lies: keys and arrays in a local folder, gs://, s3:// or memory://.

One write of a key is atomic in every one of these; TensorStore does the rest.
"""

import functools
import json
import os
from typing import Any, NamedTuple

import numpy as np
import tensorstore as ts

from helix_jax.activations.storage_errors import (
    STORAGE_ERRORS,
    brief,
    read_error,
    write_error,
)
from helix_jax.errors import StoreError
from helix_jax.paths import expand_path, is_url

CACHE_BYTES = 64 << 20
_AGAIN = "delete it and extract it again"
NETWORK_RETRIES = 6  # about a minute, where TensorStore's 32 would take a quarter hour


class Folder(NamedTuple):
    """An open location.

    Attributes:
      name: what the user called it.
      spec: TensorStore kvstore spec, ends in "/".
      kvstore: open key-value store rooted there.
      local: absolute path, or None when it is remote.
    """

    name: str
    spec: dict[str, Any] | str
    kvstore: ts.KvStore
    local: str | None


@functools.cache
def _context() -> ts.Context:
    # One context a process: memory:// lives in it, and readers share one cache.
    retries = {"max_retries": NETWORK_RETRIES}
    return ts.Context(
        {
            "cache_pool": {"total_bytes_limit": CACHE_BYTES},
            "gcs_request_retries": retries,
            "http_request_retries": retries,
            "s3_request_retries": retries,
        }
    )


def open_folder(path: str | os.PathLike) -> Folder:
    """Open a location; nothing is created.

    Args:
      path: a local path, or a URL that TensorStore knows (gs://, s3://, memory://,
        file://, and http:// for reading). Credentials come from the environment, as
        for the clouds' own tools; AWS_ENDPOINT_URL names another S3 server.

    Raises:
      StoreError: a URL that TensorStore refuses.
      PathError: not a path at all.
    """
    name = expand_path(path)
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    local = None
    spec: dict[str, Any] | str
    if name.startswith("s3://") and endpoint:
        bucket, _, prefix = name.removeprefix("s3://").partition("/")
        prefix = prefix.rstrip("/") + "/" if prefix else ""
        spec = {"driver": "s3", "bucket": bucket, "path": prefix, "endpoint": endpoint}
    elif is_url(name):
        spec = name.rstrip("/") + "/"
    else:
        local = os.path.abspath(name)
        spec = {"driver": "file", "path": local + "/"}
    try:
        kvstore = ts.KvStore.open(spec, context=_context()).result()
    except STORAGE_ERRORS as error:
        raise StoreError(
            f"{name} cannot be opened ({brief(error)}). Give a local path, or "
            "gs://BUCKET/PATH or s3://BUCKET/PATH."
        ) from error
    return Folder(name, spec, kvstore, local)


def read_bytes(folder: Folder, key: str) -> bytes | None:
    """The value of a key, or None when there is none.

    Raises:
      StoreError: unreadable; why.
    """
    try:
        found = folder.kvstore.read(key).result()
    except STORAGE_ERRORS as error:
        raise read_error(folder, key, error) from error
    return found.value if found.state == "value" else None


def write_json(
    folder: Folder, key: str, record: Any, *, indent: int | None = None
) -> None:
    """Write a key atomically, as JSON whose bytes depend on the record alone."""
    try:
        text = json.dumps(record, indent=indent, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:  # a fingerprint of somebody's own making
        raise StoreError(
            f"{folder.name}/{key} cannot be written: {error}; give strings, numbers, "
            "lists and dictionaries."
        ) from error
    try:
        folder.kvstore.write(key, text.encode() + b"\n").result()
    except STORAGE_ERRORS as error:
        raise write_error(folder, key, len(text), error) from error


def read_json(folder: Folder, key: str) -> Any:
    """The record of a key, or None when there is none.

    Raises:
      StoreError: unreadable, or not JSON.
    """
    value = read_bytes(folder, key)
    if value is None:
        return None
    try:
        return json.loads(value)
    except ValueError as error:
        raise StoreError(
            f"{folder.name}/{key} is damaged ({error}). Delete the store and extract "
            "it again."
        ) from error


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

    Chunks are plain little-endian bytes with a checksum; a chunk that is missing or
    damaged is an error when read, not zeros.

    Args:
      folder: the location.
      key: the array's folder.
      create: make it, with no rows, unless it is there.
      dtype, width, chunk_rows: of a new array; [N, width], or [N] for width None.

    Raises:
      StoreError: missing or damaged, or it cannot be made.
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
    # A killed run leaves an array with rows, whose shape is not that of a new one.
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
        array = ts.open(spec, open=True, create=create, context=_context()).result()
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
    return array


def read_rows(
    folder: Folder, key: str, array: ts.TensorStore, rows: slice | np.ndarray
) -> np.ndarray:
    """Rows of an array, in the array's own dtype."""
    try:
        return array[rows].read().result()
    except STORAGE_ERRORS as error:
        raise read_error(
            folder, key, error, otherwise=("the store is damaged", _AGAIN)
        ) from error
