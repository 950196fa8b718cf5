"""A bucket folder as a local one: fetched first, then updated with local changes.

    with mirrored("s3://bucket/runs/trec") as folder: ...   # one writer at a time
    with fetched("s3://bucket/runs/trec/map") as folder: ...  # to read

The bucket is authoritative: earlier content of the local folder is dropped. Whenever a
local file is complete, all changes are uploaded as one step: whoever reads the bucket,
or resumes from it on another machine after a kill, finds a state that the local folder
had. A single object changes atomically. Of several, all but the largest are staged and
named in a journal; writing the largest is the atomic step, and the next writer
completes or discards the rest. Stores, and what is kept of streamed states, are not
copied: they are read and written in place. Symbolic links are not copied either.
"""

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from helix_jax.atomic import PARTIAL, is_passing
from helix_jax.errors import LockError, StoreError
from helix_jax.fingerprint import fingerprint
from helix_jax.locks import Lock
from helix_jax.mirrored import standing_for
from helix_jax.paths import os_errors, user_cache
from helix_jax.remote_lock import RemotePlace
from helix_jax.storage import (
    Folder,
    list_keys,
    open_folder,
    read_bytes,
    read_json,
    read_many,
    write_bytes,
    write_json,
)

IN_PLACE = {"stores", "streamed"}  # folders that are used in place
GROWN_SECONDS = 20.0  # interval of uploads of files that only grow
_STAGE, _JOURNAL = f"{PARTIAL}stage/", f"{PARTIAL}journal.json"
_AT_ONCE = 32  # reads


class Mirror:
    """A local folder and the folder of a bucket that it stands for."""

    def __init__(self, folder: Folder, root: Path, lock: Lock | None = None):
        """Nothing is read or written yet.

        Args:
          folder: of the bucket.
          root: the local one.
          lock: of the folder, held by the caller; None where nothing will be sent.
        """
        self._folder, self._root, self._lock = folder, root, lock
        self._known: dict[str, tuple[int, ...]] = {}
        self._sent = time.monotonic()

    def fetch(self) -> int:
        """Fetch all files, over local ones; returns their number.

        Raises:
          StoreError: they cannot be read.
          PathError: they cannot be written here.
        """
        staged = self._unfinished()
        places = {key: key for key in filter(_is_copied, list_keys(self._folder))}
        places |= staged.get("put", {})
        names = [name for name in places if name not in staged.get("drop", ())]
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            values = read_many(self._folder, [places[name] for name in some])
            for name, value in zip(some, values):
                if value is not None:  # else it was removed meanwhile
                    self._keep(name, value)
        self._known = self._scan()
        return len(names)

    def recover(self) -> None:
        """Complete or discard the step that a killed writer began.

        Raises:
          StoreError: the bucket cannot be read or written.
        """
        if read_bytes(self._folder, _JOURNAL) is not None:
            self._apply(self._unfinished())  # if empty, only removed
        for key in list_keys(self._folder, _STAGE, f"{_STAGE[:-1]}0"):
            write_bytes(self._folder, key, None)

    def changed(self, grown: bool) -> None:
        """Upload changes; of files that only grow, once every GROWN_SECONDS at most."""
        if not grown or time.monotonic() - self._sent >= GROWN_SECONDS:
            self.send()

    def send(self) -> None:
        """Make the bucket what the local folder is now.

        Raises:
          StoreError: it cannot be written; it is unchanged, or will be complete when it
            is opened again.
          LockError: another process has taken the folder over.
        """
        now = self._scan()
        put = [name for name in now if self._known.get(name) != now[name]]
        drop = [name for name in self._known if name not in now]
        if put or drop:
            if self._lock is not None:
                self._lock.check()
            self._step(sorted(put, key=lambda name: now[name][0]), drop)
            self._known = now
        self._sent = time.monotonic()

    def _step(self, put: Sequence[str], drop: Sequence[str]) -> None:
        """Write some objects, the last one the largest, and remove others, at once."""
        if len(put) + len(drop) == 1:
            value = self._read(put[0]) if put else None
            write_bytes(self._folder, (*put, *drop)[0], value)
            return
        staged = {}
        for number, name in enumerate(put[:-1]):
            staged[name] = f"{_STAGE}{number}"
            write_bytes(self._folder, staged[name], self._read(name))
        journal: dict[str, Any] = {"put": staged, "drop": list(drop)}
        if put:
            value = self._read(put[-1])
            journal["with"] = [put[-1], hashlib.sha256(value).hexdigest()]
        write_json(self._folder, _JOURNAL, journal)
        if put:
            write_bytes(self._folder, put[-1], value)
        self._apply(journal)
        for key in staged.values():
            write_bytes(self._folder, key, None)

    def _unfinished(self) -> Mapping[str, Any]:
        """The journal of a step whose last write was done; empty for none."""
        journal = read_json(self._folder, _JOURNAL) or {}
        if "with" in journal:
            name, digest = journal["with"]
            value = read_bytes(self._folder, name) or b""
            if hashlib.sha256(value).hexdigest() != digest:
                return {}
        return journal

    def _apply(self, journal: Mapping[str, Any]) -> None:
        """Carry out a journal, and remove it."""
        for name, key in journal.get("put", {}).items():
            write_bytes(self._folder, name, read_bytes(self._folder, key))
        for name in journal.get("drop", ()):
            write_bytes(self._folder, name, None)
        write_bytes(self._folder, _JOURNAL, None)

    def _scan(self) -> dict[str, tuple[int, ...]]:
        """Name of each local file -> its size, and what changes with its content."""
        found: dict[str, tuple[int, ...]] = {}
        for folder, folders, files in os.walk(self._root):
            folders[:] = [name for name in folders if not is_passing(name)]
            for file in files:
                path = Path(folder, file)
                name = path.relative_to(self._root).as_posix()
                if not _is_copied(name) or path.is_symlink():
                    continue
                with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                    state = path.stat()
                    found[name] = (state.st_size, state.st_mtime_ns, state.st_ino)
        return found

    def _read(self, name: str) -> bytes:
        with os_errors(self._root / name, "be read", StoreError):
            return (self._root / name).read_bytes()

    def _keep(self, name: str, value: bytes) -> None:
        path = self._root / name
        if not path.resolve().is_relative_to(self._root.resolve()):
            raise StoreError(f"{self._folder.name}/{name} is outside of its folder.")
        with os_errors(path, "be written", StoreError):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(value)


@contextlib.contextmanager
def mirrored(url: str, what: str = "a run", *, write: bool = True) -> Iterator[Path]:
    """A local folder that stands for one of a bucket, kept in the user's cache.

    Args:
      url: of the folder; it need not be there.
      what: what is done in it, to tell those who wait.
      write: False to use what another process of the same run keeps: nothing is
        uploaded.

    Raises:
      StoreError: the bucket cannot be read or written.
      PathError: the cache cannot be written.
    """
    folder = open_folder(url)
    name = f"{fingerprint(folder.name)}{'' if write else f'-{os.getpid()}'}"
    root = user_cache("workdirs") / name
    lock = Lock(RemotePlace(folder), what) if write else None
    if lock is not None:
        lock.acquire()
    try:
        with os_errors(root, "be written", StoreError):
            shutil.rmtree(root, ignore_errors=True)
            root.mkdir(parents=True)
        mirror = Mirror(folder, root, lock)
        if write:
            mirror.recover()
        mirror.fetch()
        with standing_for(root, url, mirror.changed if write else _nothing):
            try:
                yield root
            except (StoreError, LockError):  # the bucket was tried already
                raise
            except BaseException:
                if write:
                    with contextlib.suppress(StoreError, LockError):
                        mirror.send()
                raise
            if write:
                mirror.send()
    finally:
        shutil.rmtree(root, ignore_errors=True)
        if lock is not None:
            lock.release()


@contextlib.contextmanager
def fetched(url: str) -> Iterator[Path]:
    """A temporary local copy of a bucket folder, under the same name, for reading.

    Raises:
      StoreError: there is nothing, or it cannot be read.
    """
    folder = open_folder(url)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place, url.rstrip("/").rpartition("/")[2])
        root.mkdir()
        if not Mirror(folder, root).fetch():
            raise StoreError(f"{url} holds no files; check the URL.")
        with standing_for(root, url, _nothing):
            yield root


def _nothing(grown: bool) -> None:
    """A reader uploads nothing."""


def _is_copied(name: str) -> bool:
    """Whether a key is a file of its folder, and not of one that is used in place."""
    *folders, file = name.split("/")
    return (
        bool(file)
        and IN_PLACE.isdisjoint(folders)
        and not any(map(is_passing, [*folders, file]))
    )
