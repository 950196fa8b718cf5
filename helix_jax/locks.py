"""One writer a folder: who writes holds a lock, the others wait and are told for whom.

A folder that is being written holds `.helix-lock`, a JSON record of its owner; it goes
when the writing ends. On one machine the lock is the kernel's (flock), so that a killed
owner frees it at once. Another machine knows an owner by its heartbeat: the file's time
moves every ten seconds, and an owner that has not moved it for a minute of watching is
taken for dead. So NFS is safe with flock across hosts (Linux's default) and without.
Who only reads takes no lock.
"""

import atexit
import contextlib
import getpass
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from helix_jax.errors import HelixError

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None

LOG = logging.getLogger(__name__)

FILE = ".helix-lock"
BEAT_SECONDS = 10.0
STALE_SECONDS = 60.0  # of watching, so that no clocks are compared
OLD_SECONDS = 3600.0  # by the clock: more than clocks differ
TELL_SECONDS = 300.0


class LockError(HelixError, RuntimeError):
    """The lock of a folder was lost: another process has taken it for abandoned."""


class Owner(NamedTuple):
    """Who writes.

    Attributes:
      what: "an extraction", "a run", ...
      host, user, pid: of the process.
      machine: identity of the running kernel; host names may repeat.
      space: of the process ids; containers have their own.
      started: when the process began, as the kernel counts; pids come again.
      since: seconds of the epoch.
    """

    what: str
    host: str
    user: str
    pid: int
    machine: str
    space: str
    started: str
    since: float

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.since))
        return (
            f"{self.what} of {self.user} (process {self.pid} on {self.host}, since "
            f"{since})"
        )


class Seen(NamedTuple):
    """A lock as it was found.

    Attributes:
      owner: who holds it; None where its record is empty or damaged.
      stamp: changes with each heartbeat.
      beat: of the last one, seconds of the epoch.
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
        """Whether its owner may be gone, as far as this machine can tell."""

    def take(self, owner: Owner, seen: Seen | None) -> bool:
        """Take it, if nothing has changed since `seen`."""

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
        # The kernel of one machine knows better than any record: `take` asks it.
        return seen.owner is None or seen.owner.machine == _machine()

    def take(self, owner: Owner, seen: Seen | None) -> bool:
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not flock(fd) or not self._is(fd):  # held, or given back meanwhile
                return False
            found = _seen(fd)
            if found.owner is not None and (seen is None or found != seen):
                return False
            with contextlib.suppress(OSError):  # on a full disk it stays empty
                os.ftruncate(fd, 0)
                os.pwrite(fd, encode_owner(owner), 0)
            self._fd, fd = fd, None
            return True
        finally:
            if fd is not None:
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


class Lock:
    """The lock of a place, held from `acquire` to `release`."""

    def __init__(self, place: Place, what: str, *, stale: float = STALE_SECONDS):
        """Nothing is taken yet.

        Args:
          place: where it lies.
          what: what its owner does, for those who wait: "an extraction".
          stale: seconds without a heartbeat after which an owner that cannot be asked
            is taken for dead.
        """
        self._place, self._owner, self._stale = place, this_process(what), stale
        self._lost = threading.Event()
        self._ended = threading.Event()

    def acquire(self) -> None:
        """Take the lock, waiting for its owner; says after a second for whom."""
        seen, began = None, time.monotonic()
        changed, told, pause = began, began + 1 - TELL_SECONDS, 0.01
        while True:
            now, found = time.monotonic(), self._place.look()
            if found != seen:
                seen, changed = found, now
            free = found is None or self._place.ended(found)
            if (free or self._silent(found, changed)) and self._place.take(
                self._owner, found
            ):
                break
            if now - told >= TELL_SECONDS:
                told = now
                LOG.warning(
                    "%s is being written by %s; waiting for it to end (Ctrl-C gives "
                    "up).", self._place.name, _who(found),
                )  # fmt: skip
            time.sleep(pause)
            pause = min(1.5 * pause, 1.0)
        threading.Thread(target=self._keep_beating, daemon=True).start()

    def check(self) -> None:
        """Raise LockError unless this process still holds the lock."""
        if self._lost.is_set() or not self._place.beat():
            raise LockError(
                f"{self._place.name} was taken over by another process, since this one "
                f"gave no sign for {self._stale:g} seconds. Nothing more is written; "
                "run the same command again to go on with what is there."
            )

    def release(self) -> None:
        """Give the lock back."""
        self._ended.set()
        self._place.drop()

    def disown(self) -> None:
        """What a forked child does with the locks of its parent."""
        self._ended.set()
        if isinstance(self._place, LocalPlace):
            self._place.disown()

    def _silent(self, seen: Seen, changed: float) -> bool:
        watched = time.monotonic() - changed
        return watched >= self._stale or time.time() - seen.beat >= OLD_SECONDS

    def _keep_beating(self) -> None:
        while not self._ended.wait(min(BEAT_SECONDS, self._stale / 4)):
            if not self._place.beat() and not self._ended.is_set():
                self._lost.set()
                return


_held: dict[str, tuple[Lock, int]] = {}  # folder -> its lock, the thread or 0 for all
_guard = threading.RLock()


@contextlib.contextmanager
def hold(folder: str | os.PathLike, what: str) -> Iterator[None]:
    """Hold the lock of a local folder that exists, for the length of a block.

    A thread that holds it already goes on, as does any where the process keeps it.
    """
    name, thread = os.path.realpath(folder), threading.get_ident()
    with _guard:
        mine = _held.get(name, (None, -1))[1] in (0, thread)
    if mine:
        yield
        return
    lock = Lock(LocalPlace(name), what)
    lock.acquire()
    with _guard:
        _held[name] = lock, thread
    try:
        yield
    finally:
        _let_go(name)


def keep(folder: str | os.PathLike, what: str) -> None:
    """Take the lock of a local folder for this process, until `let_go` or its end."""
    name = os.path.realpath(folder)
    with _guard:
        if name in _held:
            return
    lock = Lock(LocalPlace(name), what)
    lock.acquire()
    with _guard:
        _held[name] = lock, 0


def let_go(folder: str | os.PathLike) -> None:
    """Give back what `keep` took; nothing where it was not kept."""
    _let_go(os.path.realpath(folder))


def writer_of(place: Place) -> str:
    """Who writes there now, for a message; empty for nobody that is known to live."""
    seen = place.look()
    if seen is None or seen.owner is None:
        return ""
    silent = time.time() - seen.beat > STALE_SECONDS
    return "" if silent or has_ended(seen.owner) else str(seen.owner)


def this_process(what: str) -> Owner:
    """This process as an owner."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a number without a name, as in containers
        user = str(os.getuid())
    pid = os.getpid()
    return Owner(
        what, socket.gethostname(), user, pid, _machine(), _space(), _started(pid),
        time.time(),
    )  # fmt: skip


def has_ended(owner: Owner) -> bool:
    """Whether an owner is a process of this machine that is no more."""
    if (owner.machine, owner.space) != (_machine(), _space()):
        return False
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return _started(owner.pid) != owner.started


def encode_owner(owner: Owner) -> bytes:
    """The record of an owner."""
    return json.dumps(owner._asdict(), sort_keys=True).encode() + b"\n"


def decode_owner(record: bytes) -> Owner | None:
    """The owner of a record; None where it is empty or damaged."""
    try:
        return Owner(**json.loads(record))
    except (ValueError, TypeError):
        return None


def flock(fd: int) -> bool:
    """Lock an open file without waiting; False when another holds it.

    True also where the file system has no locks: records and heartbeats remain.
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


def _who(seen: Seen | None) -> str:
    return "another process" if seen is None or seen.owner is None else str(seen.owner)


def _let_go(name: str) -> None:
    with _guard:
        lock, _ = _held.pop(name, (None, 0))
    if lock is not None:
        lock.release()


def _machine() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()


def _space() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _started(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _let_go_of_all() -> None:
    for name in list(_held):
        _let_go(name)


def _disown_all() -> None:
    global _guard
    _guard = threading.RLock()
    for lock, _ in _held.values():
        lock.disown()
    _held.clear()


atexit.register(_let_go_of_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)
