"""Folders of keys: in a local folder, gs://, s3:// or memory://, through TensorStore.

One write of a key is atomic in all of these. A server that gives no answer within 40
seconds, and the time for sending, is an error; stalled connections are dropped and
retried. Only waits for a local disk are unlimited.
"""

import functools
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import tensorstore as ts

from helix_jax.errors import StoreError
from helix_jax.mirrored import public_name
from helix_jax.paths import expand_path, is_url
from helix_jax.storage_errors import STORAGE_ERRORS, brief, read_error, write_error

CACHE_BYTES = 64 << 20
NETWORK_RETRIES = 5  # half a minute; TensorStore's 32 would take a quarter hour
ANSWER_SECONDS = 40.0  # of waiting for a server, in addition to sending:
LEAST_BYTES_PER_SECOND = 1e6
_CURL = {  # a stalled connection is dropped and made again
    "CONNECT_TIMEOUT_SECONDS": 15,
    "LOW_SPEED_TIME_SECONDS": 15,
    "LOW_SPEED_LIMIT_BYTES": 1,
}


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
def shared_context() -> ts.Context:
    """The only context of a process: memory:// lives in it, readers share its cache."""
    for name, value in _CURL.items():
        os.environ.setdefault(f"TENSORSTORE_CURL_{name}", str(value))
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
        file://, and http:// for reading). A path in the local copy of a bucket folder
        (`mirrored`) is opened in the bucket. Credentials come from the environment, as
        for the clouds' own tools; AWS_ENDPOINT_URL names another S3 server.

    Raises:
      StoreError: a URL that TensorStore refuses.
      PathError: not a path at all.
    """
    name = public_name(expand_path(path))
    local = None
    spec: dict[str, Any] | str
    if name.startswith("s3://"):
        spec = _s3_spec(name)
    elif is_url(name):
        spec = name.rstrip("/") + "/"
    else:
        local = os.path.abspath(name)
        spec = {"driver": "file", "path": local + "/"}
    try:
        kvstore = ts.KvStore.open(spec, context=shared_context()).result()
    except STORAGE_ERRORS as error:
        raise StoreError(
            f"{name} cannot be opened ({brief(error)}). Give a local path, or "
            "gs://BUCKET/PATH or s3://BUCKET/PATH."
        ) from error
    return Folder(name, spec, kvstore, local)


def _s3_spec(url: str) -> dict[str, Any]:
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    prefix = prefix.rstrip("/") + "/" if prefix else ""
    spec: dict[str, Any] = {"driver": "s3", "bucket": bucket, "path": prefix}
    if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
        spec["endpoint"] = endpoint
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        if region:  # otherwise the server is asked, as Amazon's always is
            spec["aws_region"] = region
    if os.environ.get("AWS_ACCESS_KEY_ID"):  # otherwise files are looked for
        spec["aws_credentials"] = {"type": "environment"}
    return spec


def settle(
    folder: Folder, future: Any, sent_bytes: int = 0, *, seconds: float = ANSWER_SECONDS
) -> Any:
    """The result of a TensorStore operation in a folder.

    Args:
      folder: where; for a local one the wait is unlimited.
      future: of TensorStore.
      sent_bytes: how much is sent over the network, as far as known.
      seconds: to wait for an answer, in addition to the time for sending.

    Raises:
      TimeoutError: a server gives no answer; one of STORAGE_ERRORS, like all others.
    """
    if folder.local is not None:
        return future.result()
    seconds += sent_bytes / LEAST_BYTES_PER_SECOND
    try:
        return future.result(timeout=seconds)
    except TimeoutError as error:
        raise TimeoutError(f"no answer within {seconds:.0f} seconds") from error


def list_keys(folder: Folder, first: str = "", after: str = "") -> list[str]:
    """The keys in a folder, in order.

    Args:
      folder: the location.
      first, after: bounds, `after` excluded; empty for none.

    Raises:
      StoreError: they cannot be listed; why.
    """
    try:
        found = folder.kvstore.list(ts.KvStore.KeyRange(first, after))
        return sorted(key.decode() for key in settle(folder, found))
    except STORAGE_ERRORS as error:
        raise read_error(folder, first, error, doing="listed") from error


def read_bytes(folder: Folder, key: str) -> bytes | None:
    """The value of a key, or None when there is none.

    Raises:
      StoreError: unreadable; why.
    """
    return next(read_many(folder, [key]))


def read_many(folder: Folder, keys: Iterable[str]) -> Iterator[bytes | None]:
    """The value of each key, or None; all are read at once.

    Raises:
      StoreError: unreadable; why.
    """
    reads = {key: folder.kvstore.read(key) for key in keys}
    for key, read in reads.items():
        try:
            found = settle(folder, read)
        except STORAGE_ERRORS as error:
            raise read_error(folder, key, error) from error
        yield found.value if found.state == "value" else None


def write_bytes(folder: Folder, key: str, value: bytes | None) -> None:
    """Write a key atomically; None removes it.

    Raises:
      StoreError: unwritable; why.
    """
    sent = len(value or b"")
    try:
        settle(folder, folder.kvstore.write(key, value), sent)
    except STORAGE_ERRORS as error:
        raise write_error(folder, key, sent, error) from error


def write_json(
    folder: Folder, key: str, record: Any, *, indent: int | None = None
) -> None:
    """Write a key atomically, as JSON whose bytes depend on the record alone."""
    try:
        text = json.dumps(record, indent=indent, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:  # a fingerprint made by the caller
        raise StoreError(
            f"{folder.name}/{key} cannot be written: {error}; give strings, numbers, "
            "lists and dictionaries."
        ) from error
    write_bytes(folder, key, text.encode() + b"\n")


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
