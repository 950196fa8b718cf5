"""The place of a lock: a file locked by the kernel, or something that behaves alike."""

import contextlib
import os
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Protocol

from helix_jax.owners import Owner, decode_owner, encode_owner, this_machine

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None

FILE = ".helix-lock"


class Seen(NamedTuple):
    """A lock as it was found.

    Attributes:
      owner: who holds it; None if its record is empty or damaged.
      stamp: changes with each heartbeat.
      beat: time of the last heartbeat, seconds of the epoch.
    """

    owner: Owner | None
    stamp: Any
    beat: float


class Place(Protocol):
    """Where a lock lies."""

    name: str

    def look(self) -> Seen | None:
        """The lock there, or None."""

    def ended(self, seen: Seen) -> bool:
        """Whether its owner may be gone, as far as this machine knows."""

    def take(self, owner: Owner, seen: Seen | None) -> bool:
        """Take it if nothing has changed since `seen`; never waits."""

    def beat(self) -> bool:
        """Show that the owner lives; False when the lock is no longer its own."""

    def drop(self) -> None:
        """Give it back."""


class LocalPlace:
    """A lock file in a local folder, which must exist."""

    def __init__(self, folder: str | os.PathLike):
        self.name = os.fspath(folder)
        self._path = Path(folder) / FILE
        self._fd: int | None = None

    def look(self) -> Seen | None:
        try:
            with self._path.open("rb") as stream:
                return _seen(stream.fileno())
        except FileNotFoundError:
            return None

    def ended(self, seen: Seen) -> bool:
        # On one machine the kernel is more reliable than any record: `take` asks it.
        return seen.owner is None or seen.owner.machine == this_machine()

    def take(self, owner: Owner, seen: Seen | None) -> bool:
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # a writer that failed has removed its folder
            os.makedirs(self.name, exist_ok=True)
            return False
        taken = False
        try:
            if not flock(fd) or not self._is(fd):  # held, or given back meanwhile
                return False
            found = _seen(fd)
            if found.owner is not None and (seen is None or found != seen):
                return False
            with contextlib.suppress(OSError):  # on a full disk it stays empty
                os.ftruncate(fd, 0)
                os.pwrite(fd, encode_owner(owner), 0)
            self._fd, taken = fd, True
            return True
        finally:
            if not taken:
                os.close(fd)

    def beat(self) -> bool:
        fd = self._fd
        if fd is None or not self._is(fd):
            return False
        with contextlib.suppress(OSError):
            os.utime(fd if os.utime in os.supports_fd else self._path)
        return True

    def drop(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            with contextlib.suppress(OSError):
                if self._is(fd):
                    self._path.unlink()
            os.close(fd)

    def disown(self) -> None:
        """Let go of the file in a forked child; the parent keeps the lock."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def _is(self, fd: int) -> bool:
        """Whether an open file is the one that has the lock's name."""
        try:
            return os.path.samestat(os.fstat(fd), self._path.stat())
        except FileNotFoundError:
            return False


def flock(fd: int) -> bool:
    """Lock an open file without waiting; False when another holds it.

    Also True if the file system has no locks: records and heartbeats remain.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _seen(fd: int) -> Seen:
    state = os.fstat(fd)
    record = os.pread(fd, 4096, 0)
    return Seen(decode_owner(record), (state.st_ino, state.st_mtime_ns), state.st_mtime)
