"""The lock of a store, local or in a bucket: one writer at a time."""

import contextlib
import os
from collections.abc import Iterator

from helix_jax.errors import StoreError
from helix_jax.locks import Lock, writer_of
from helix_jax.paths import os_errors
from helix_jax.remote_lock import lock_place
from helix_jax.storage import Folder


@contextlib.contextmanager
def writing(folder: Folder) -> Iterator[Lock]:
    """Become the only writer of a store; if there is another one, say so and wait.

    Raises:
      StoreError: the folder cannot be made or written to.
    """
    lock = Lock(lock_place(folder), "an extraction")
    with os_errors(folder.name, "be written", StoreError):
        if folder.local is not None:
            os.makedirs(folder.local, exist_ok=True)
        lock.acquire()
    try:
        yield lock
    finally:
        lock.release()
        if folder.local is not None:
            with contextlib.suppress(OSError):  # nothing was made
                os.rmdir(folder.local)


def store_writer(folder: Folder) -> str:
    """The current writer of a store, for a message; empty if there is none."""
    with contextlib.suppress(StoreError, OSError):
        return writer_of(lock_place(folder))
    return ""
