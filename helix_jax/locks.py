"""One writer per folder: it holds a lock; others wait and are told who holds it.

A folder that is being written holds `.helix-lock`, a JSON record of its owner, which is
removed when the writing ends. On one machine the lock is the kernel's (flock), so a
killed owner frees it at once. Another machine recognises an owner by its heartbeat: the
file's time changes every ten seconds, and an owner that has not changed it for a minute
of watching counts as dead. So NFS is safe with flock across hosts (Linux's default) and
without it. Readers take no lock.
"""

import atexit
import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

from helix_jax.errors import LockError
from helix_jax.lock_files import LocalPlace, Place, Seen
from helix_jax.owners import has_ended, this_process

LOG = logging.getLogger(__name__)

BEAT_SECONDS = 10.0
STALE_SECONDS = 60.0  # of watching, so that no clocks are compared
OLD_SECONDS = 3600.0  # by the clock: more than clocks differ
TELL_SECONDS = 300.0


class Lock:
    """The lock of a place, held from `acquire` to `release`."""

    def __init__(self, place: Place, what: str, *, stale: float = STALE_SECONDS):
        """Nothing is taken yet.

        Args:
          place: where it lies.
          what: what its owner does, to tell those who wait: "an extraction".
          stale: seconds without a heartbeat after which an owner on another machine
            counts as dead.
        """
        self._place, self._owner, self._stale = place, this_process(what), stale
        self._lost = threading.Event()
        self._ended = threading.Event()

    def acquire(self) -> None:
        """Take the lock, waiting for its owner, who is named after a second."""
        seen, began = None, time.monotonic()
        changed, told, pause = began, began + 1 - TELL_SECONDS, 0.01
        while True:
            now, found = time.monotonic(), self._place.look()
            if found != seen:
                seen, changed = found, now
            free = (
                found is None
                or self._place.ended(found)
                or self._silent(found, changed)
            )
            if free and self._place.take(self._owner, found):
                break
            if now - told >= TELL_SECONDS:
                told = now
                LOG.warning(
                    "%s is being written by %s; waiting for it to end (Ctrl-C gives "
                    "up).",
                    self._place.name,
                    _who(found),
                )
            time.sleep(pause)
            pause = min(1.5 * pause, 1.0)
        threading.Thread(target=self._keep_beating, daemon=True).start()

    def check(self) -> None:
        """Raise LockError unless this process still holds the lock."""
        if self._lost.is_set() or not self._place.beat():
            raise LockError(
                f"{self._place.name} was taken over by another process, since this one "
                f"gave no sign for {self._stale:g} seconds. Nothing more is written; "
                "run the same command again to resume from what is there."
            )

    def release(self) -> None:
        """Give the lock back."""
        self._ended.set()
        self._place.drop()

    def disown(self) -> None:
        """Let go of the lock in a forked child; the parent keeps it."""
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


class _Held(NamedTuple):
    lock: Lock
    thread: threading.Thread  # that took it
    shared: bool  # by all threads of the process


_held: dict[str, _Held] = {}
_guard = threading.RLock()


@contextlib.contextmanager
def hold(folder: str | os.PathLike, what: str) -> Iterator[None]:
    """Hold the lock of a local folder that exists, for the length of a block.

    A thread that already holds it continues, as does any thread if the process keeps
    it.
    """
    name, thread = os.path.realpath(folder), threading.current_thread()
    with _guard:
        held = _held.get(name)
    if held is not None and (held.shared or held.thread is thread):
        yield
        return
    lock = Lock(LocalPlace(name), what)
    lock.acquire()
    with _guard:
        _held[name] = _Held(lock, thread, shared=False)
    try:
        yield
    finally:
        _let_go(name)


def keep(folder: str | os.PathLike, what: str) -> None:
    """Take the lock of a local folder for this process, until `let_go` or its end.

    The thread that already keeps it continues; other threads wait, as another process
    would, until that thread has ended.
    """
    name, thread = os.path.realpath(folder), threading.current_thread()
    with _guard:
        held = _held.get(name)
        if held is not None and (held.thread is thread or not held.thread.is_alive()):
            _held[name] = held._replace(thread=thread, shared=True)
            return
    lock = Lock(LocalPlace(name), what)
    lock.acquire()
    with _guard:
        _held[name] = _Held(lock, thread, shared=True)


def let_go(folder: str | os.PathLike) -> None:
    """Release what `keep` took; no effect otherwise."""
    _let_go(os.path.realpath(folder))


def writer_of(place: Place) -> str:
    """The active writer there, for a message; empty if none is known to be alive."""
    seen = place.look()
    if seen is None or seen.owner is None:
        return ""
    silent = time.time() - seen.beat > STALE_SECONDS
    return "" if silent or has_ended(seen.owner) else str(seen.owner)


def _who(seen: Seen | None) -> str:
    return "another process" if seen is None or seen.owner is None else str(seen.owner)


def _let_go(name: str) -> None:
    with _guard:
        held = _held.pop(name, None)
    if held is not None:
        held.lock.release()


def _let_go_of_all() -> None:
    for name in list(_held):
        _let_go(name)


def _disown_all() -> None:
    global _guard
    _guard = threading.RLock()
    for held in _held.values():
        held.lock.disown()
    _held.clear()


atexit.register(_let_go_of_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)
