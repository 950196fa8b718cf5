"""A service and its workers end together, and the next begins when all have ended.

A worker is killed by the kernel when its service is (Linux; elsewhere it ends when it
has nothing to do). One that ends late could overwrite its successor's newer state: so
all hold one lock, which the service passes on to them as an open file, and which is
free when the last of them has ended.

Reference: https://man7.org/linux/man-pages/man2/pr_set_pdeathsig.2const.html,
  https://man7.org/linux/man-pages/man2/flock.2.html (inherited by children).
"""

import asyncio
import ctypes
import logging
import os
import signal
import sys

from helix_jax.lock_files import flock
from helix_jax.paths import local_path

LOG = logging.getLogger(__name__)
FILE = "family.lock"
_LOOK_SECONDS, _LOOKS_UNTOLD = 0.05, 20
_PR_SET_PDEATHSIG = 1


class Family:
    """The lock of a service and its workers."""

    def __init__(self, folder: str | os.PathLike):
        """Take the state's folder; nothing is locked yet."""
        self._path = local_path(folder, "the state") / FILE
        self._open: int | None = None

    async def begin(self) -> None:
        """Lock, once the workers of a service that was killed have ended."""
        place = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        looks = 0
        while not flock(place):
            looks += 1
            if looks == _LOOKS_UNTOLD:
                LOG.warning("workers of an earlier service still run; waiting for them")
            await asyncio.sleep(_LOOK_SECONDS)
        self._open = place

    def fileno(self) -> int:
        """The open file that a worker inherits."""
        if self._open is None:
            raise RuntimeError("Family: begin comes first.")
        return self._open

    def end(self) -> None:
        """Leave the lock to the workers, if any is left."""
        if self._open is not None:
            os.close(self._open)
        self._open = None


def end_with(service: int) -> None:
    """Let this worker be killed when its service ends; at once if it has ended.

    Args:
      service: the number of its process.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != service:
        sys.exit("the service of this worker has ended.")
