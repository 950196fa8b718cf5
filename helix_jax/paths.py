"""Paths given by users: one rule for all, and a one-line error if they fail.

A leading `~` is the home folder; nothing else is replaced (`$NAME` is the shell's), and
a URL (`gs://`, `s3://`, ...) stays as it is. Flags, `embeddings:FILE`, corpora, stores,
maps, probes and work directories all go through `expand_path` or `local_path`.
"""

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from helix_jax.errors import HelixError, PathError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SLASH_LOST = re.compile(r"(gs|s3|file|https?|memory|hdfs|hf):/?(?!/)")

_REASONS = {
    errno.ENOSPC: "the disk is full; make room and run the same command again",
    errno.EDQUOT: "the disk quota is used up; make room and run the same command again",
    errno.EFBIG: "the file size limit is reached; raise it (ulimit -f)",
    errno.EACCES: "permission denied; choose a place that you may use",
    errno.EPERM: "the operation is not permitted; choose a place that you may use",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.ENOTDIR: "a part of this path is a file, not a folder; choose another path",
    errno.EISDIR: "it is a folder, expected a file",
    errno.EEXIST: "a file of that name is in the way; choose another path",
    errno.ENOENT: "there is no such file or folder; check the path",
    errno.ELOOP: "its symbolic links go in a circle; check the path",
}


def printable(name: str | os.PathLike) -> str:
    """A printable name: bytes that are not UTF-8 as \\udcNN."""
    return os.fspath(name).encode("utf-8", "backslashreplace").decode()


def is_url(given: str | os.PathLike) -> bool:
    """Whether a place is a URL such as gs://BUCKET/PATH rather than a local path."""
    return _URL.match(os.fspath(given)) is not None


def expand_path(given: str | os.PathLike) -> str:
    """An expanded place: `~` and `~NAME` become home folders, URLs stay.

    Args:
      given: a local path or a URL.

    Raises:
      PathError: empty, holds a NUL character, is no text in UTF-8, names a user that
        does not exist, or is a URL with a slash missing.
    """
    name = os.fspath(given)
    if not name:
        raise PathError("a path is empty; name a file or a folder.")
    if "\0" in name:
        raise PathError(f"{name!r} holds a NUL character, which no path can.")
    if (shown := printable(name)) != name:
        raise PathError(
            f"{shown}: this name is not UTF-8, so results could not be written under "
            "it; rename the file or folder (mv, or convmv -f latin1 -t utf-8)."
        )
    if is_url(name):
        return name
    if mistyped := _SLASH_LOST.match(name):
        slashes = ":///" if mistyped[1] == "file" else "://"
        raise PathError(
            f"{name} begins like a URL, which has two slashes; write "
            f"{mistyped[1]}{slashes}{name[mistyped.end() :]}, or ./{name} for a folder "
            "or file that is called so."
        )
    expanded = os.path.expanduser(name)
    if name.startswith("~") and expanded == name:
        raise PathError(
            f"{name}: there is no home folder of {name.partition('/')[0]!r}; write "
            f"./{name} for a folder that is called so."
        )
    return expanded


def user_cache(*names: str) -> Path:
    """A folder of the user's cache: $XDG_CACHE_HOME/helix_jax, else below ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base, "helix_jax", *names)


def local_path(given: str | os.PathLike, what: str = "this path") -> Path:
    """The expanded path of something that must be on this machine.

    Args:
      given: the path as written.
      what: what the path is for, for the message, such as "--workdir".

    Raises:
      PathError: a URL, or not a path at all; see `expand_path`.
    """
    if is_url(given):
        raise PathError(
            f"{what} must be a local folder or file, got the URL {os.fspath(given)}; "
            "only activation stores (--stores), the work directory of one program "
            "(--workdir) and what is read from one can lie there."
        )
    return Path(expand_path(given))


def explain_os_error(
    error: OSError, path: str | os.PathLike, doing: str = "be used"
) -> str:
    """One line: the path, what failed, the cause and the remedy.

    Args:
      error: of the operating system.
      path: the path that the person gave.
      doing: what failed: "be read", "be written", ...
    """
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    return f"{os.fspath(path)} cannot {doing}: {reason}."


def os_cause(code: int) -> tuple[str, str]:
    """The reason and the remedy of an error number of the operating system."""
    reason, _, remedy = _REASONS.get(code, os.strerror(code)).partition("; ")
    return reason, remedy or "see the quoted error"


@contextlib.contextmanager
def os_errors(
    path: str | os.PathLike, doing: str, raises: type[HelixError] = PathError
) -> Iterator[None]:
    """Turn an OSError of the block into one clear error.

    Args:
      path: the path that the person gave.
      doing: "be read", "be written", ...
      raises: class of the error.
    """
    try:
        yield
    except OSError as error:
        raise raises(explain_os_error(error, path, doing)) from error
