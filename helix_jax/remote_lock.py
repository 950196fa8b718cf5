"""A lock in a bucket folder: a key with conditional writes.

A bucket has no kernel to report that an owner was killed. An owner on this machine is
checked by its process id, another one by its heartbeat. The server must support
conditional writes (GCS, S3 and most others).
"""

import contextlib
import json
import threading
import time
from typing import Any

from helix_jax.errors import StoreError
from helix_jax.lock_files import FILE, LocalPlace, Place, Seen
from helix_jax.owners import Owner, decode_owner, encode_owner, has_ended
from helix_jax.storage import ANSWER_SECONDS, Folder, settle
from helix_jax.storage_errors import STORAGE_ERRORS, write_error

_SOON_SECONDS = 5.0  # of waiting, if the request is retried or optional
_BEAT_SECONDS = 5.0  # at most one heartbeat per interval, however many are requested


class RemotePlace:
    """A lock in a folder that TensorStore writes."""

    def __init__(self, folder: Folder):
        self.name = folder.name
        self._folder = folder
        self._owner: Owner | None = None
        self._generation: Any = None
        self._last = 0.0
        self._refused = 0
        self._one = threading.Lock()

    def look(self) -> Seen | None:
        lock = self._read()
        if lock.state == "missing":
            return None
        first, _, record = lock.value.partition(b"\n")
        try:
            beat, owner = float(json.loads(first)["beat"]), decode_owner(record)
        except (ValueError, KeyError, TypeError):
            beat, owner = 0.0, None
        return Seen(owner, lock.stamp.generation, beat)

    def ended(self, seen: Seen) -> bool:
        return seen.owner is None or has_ended(seen.owner)

    def take(self, owner: Owner, seen: Seen | None) -> bool:
        generation = None
        if seen is not None:
            generation = seen.stamp
        elif self._refused < 3:
            lock = self._read()
            if lock.state != "missing":
                return False
            generation = lock.stamp.generation
        with self._one:
            self._owner = owner
            # If there is no bucket, there is no key, and yet the condition fails: after
            # three refusals an unconditional write succeeds or raises the reason.
            taken = self._write(owner, generation)
            self._refused = 0 if taken or seen is not None else self._refused + 1
            return taken

    def beat(self) -> bool:
        with self._one:
            owner = self._owner
            if owner is None:
                return False
            if time.monotonic() - self._last < _BEAT_SECONDS:
                return True
            try:
                return self._write(owner, self._generation, _SOON_SECONDS)
            except StoreError:  # the network; a later heartbeat will tell
                return True

    def drop(self) -> None:
        with self._one, contextlib.suppress(*STORAGE_ERRORS):
            self._owner = None
            written = self._folder.kvstore.write(FILE, None, if_equal=self._generation)
            settle(self._folder, written, seconds=_SOON_SECONDS)

    def _read(self) -> Any:
        try:
            return settle(self._folder, self._folder.kvstore.read(FILE))
        except STORAGE_ERRORS as error:
            raise write_error(self._folder, FILE, 0, error) from error

    def _write(
        self, owner: Owner, generation: Any, seconds: float = ANSWER_SECONDS
    ) -> bool:
        beat = json.dumps({"beat": time.time()}).encode()
        record = beat + b"\n" + encode_owner(owner)
        try:
            written = self._folder.kvstore.write(FILE, record, if_equal=generation)
            stamp = settle(self._folder, written, seconds=seconds)
        except STORAGE_ERRORS as error:
            raise write_error(self._folder, FILE, len(record), error) from error
        generation = stamp.generation
        if not generation:  # another's, or ours and only the answer was lost
            found = self.look()
            if found is None or found.owner != owner:
                return False
            generation = found.stamp
        self._generation, self._last = generation, time.monotonic()
        return True


def lock_place(folder: Folder) -> Place:
    """The place of a folder's lock."""
    return RemotePlace(folder) if folder.local is None else LocalPlace(folder.local)
