"""Why a folder cannot be read or written, and what to do, in one line."""

import errno
import os
import re
import shutil
from typing import Protocol

from helix_jax.errors import StoreError
from helix_jax.paths import os_cause

STORAGE_ERRORS = (ValueError, OSError, RuntimeError, NotImplementedError)
Cause = tuple[str, str]  # the reason, the remedy

_DENIED = (
    "the credentials do not allow it",
    "log in (gcloud auth application-default login; AWS_PROFILE or AWS_ACCESS_KEY_ID) "
    "or choose another place",
)
_UNREACHED = ("the server cannot be reached", "check the network and AWS_ENDPOINT_URL")
_SILENT = ("the server does not answer", "check the network and AWS_ENDPOINT_URL")
_NO_BUCKET = ("there is no such bucket", "make it, or correct its name")
_FULL = (
    "the bucket has no room left, or its quota is used up",
    "make room or have the quota raised",
)
_BUSY = ("the server asks for fewer requests", "wait some minutes")
_TOO_LARGE = ("one object is larger than the server takes", "choose another place")
# Codes of S3, GCS or HTTP that say more than TensorStore's message.
_CODES = {
    "NoSuchBucket": _NO_BUCKET,
    "bucket does not exist": _NO_BUCKET,
    "QuotaExceeded": _FULL,
    "quotaExceeded": _FULL,
    "InsufficientStorage": _FULL,
    "XMinioStorageFull": _FULL,
    "http_response_code='507'": _FULL,
    "EntityTooLarge": _TOO_LARGE,
    "SlowDown": _BUSY,
    "http_response_code='429'": _BUSY,
    "SignatureDoesNotMatch": _DENIED,
    "InvalidAccessKeyId": _DENIED,
    "ExpiredToken": _DENIED,
    "AccessDenied": _DENIED,
}
# Beginnings of TensorStore's errors that do not come from the operating system.
_REMOTE = {
    "PERMISSION_DENIED": _DENIED,
    "UNAUTHENTICATED": _DENIED,
    "UNAVAILABLE": _UNREACHED,
    "DEADLINE_EXCEEDED": _UNREACHED,
    "ABORTED": _UNREACHED,
    "RESOURCE_EXHAUSTED": _UNREACHED,
}


class Named(Protocol):
    """A location: what the user called it, and its path where it is local."""

    @property
    def name(self) -> str:
        """As it was given."""

    @property
    def local(self) -> str | None:
        """Its path, or None for a bucket."""


def read_error(
    folder: Named,
    key: str,
    error: BaseException,
    *,
    doing: str = "read",
    otherwise: Cause | None = None,
) -> StoreError:
    """A StoreError that says why a read failed.

    Args:
      folder: the store.
      key: what was read.
      error: of TensorStore.
      doing: what failed, such as "read".
      otherwise: the cause if it is neither the operating system nor the network.
    """
    known = _cause(error) or otherwise or ("the read failed", "see the quoted error")
    reason, remedy = known
    return StoreError(
        f"{folder.name}/{key} cannot be {doing} ({brief(error)}): {reason}; {remedy}."
    )


def write_error(
    folder: Named, key: str, needed_bytes: int, error: BaseException
) -> StoreError:
    """A StoreError that says why a write failed and that running again resumes."""
    cause = _cause(error)
    if cause is None and str(error).startswith("NOT_FOUND") and folder.local is None:
        cause = _NO_BUCKET
    reason, remedy = cause or ("the write failed", "see the quoted error")
    if folder.local is not None and remedy.startswith("make room"):
        left = shutil.disk_usage(_existing(folder.local)).free
        reason += f", {needed_bytes:,} bytes needed and {left:,} bytes left"
    again = "run the same command again"
    remedy = remedy if again in remedy else f"{remedy}, then {again}"
    return StoreError(
        f"{folder.name}: {reason} while writing {key} ({brief(error)}). What was "
        f"recorded before is intact: {remedy} to resume."
    )


def brief(error: BaseException) -> str:
    """What an error says, without its codes."""
    return str(error).split(" [")[0]


def _cause(error: BaseException) -> Cause | None:
    """The cause given by the system or the network, or None."""
    text = str(error)
    found = re.search(r"os_error_code='(\d+)'", text)
    if found and int(found.group(1)) != errno.ENOENT:
        return os_cause(int(found.group(1)))
    if isinstance(error, TimeoutError):
        return _SILENT
    coded = (cause for code, cause in _CODES.items() if code in text)
    return next(coded, _REMOTE.get(text.partition(":")[0]))


def _existing(path: str) -> str:
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path
