"""A worker of the service and its successors: a process that does one thing at a time.

A worker that dies, or takes too long, costs only the request in progress.
"""

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any, Self

from helix_jax.net.family import Family
from helix_jax.net.frames import Frame, pack, receive_from
from helix_jax.net.refusals import Refusal
from helix_jax.net.settings import ServiceSettings
from helix_jax.net.settings_file import as_values

LOG = logging.getLogger(__name__)
_START_SECONDS = 1800.0  # a large head is encoded before the first answer
_BYE_SECONDS, _REPLACED_SECONDS = 5.0, 60.0


class Place:
    """A worker and its successors.

    Attributes:
      turn: lock held by whoever uses the worker.
      serves: set while there is a worker that serves.
      waiting: how many wait for it or use it.
      learnt: what it was told since it was started, such as keys.
      about: what it serves, by its own account; None while it starts.
      restarts: how often a worker that had ended was replaced.
    """

    def __init__(self, number: int, settings: ServiceSettings, family: Family):
        self.number, self._settings, self._family = number, settings, family
        self.turn, self.serves = asyncio.Lock(), asyncio.Event()
        self.waiting, self.restarts = 0, 0
        self.learnt: set[str] = set()
        self.about: dict[str, Any] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def pid(self) -> int | None:
        """Id of the process; None if there is none."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start a process and wait until it serves.

        Raises:
          Refusal: the process says why it cannot serve, or has ended.
        """
        ours, theirs = socket.socketpair()
        environment = dict(os.environ)
        if threads := self._settings.worker_threads:
            # Limit XLA's own pool, and matrix products.
            flags = environment.get("XLA_FLAGS", "")
            if threads == 1:
                flags += " --xla_cpu_multi_thread_eigen=false"
            environment["XLA_FLAGS"] = flags.strip()
            environment["NPROC"] = str(threads)
            environment["OMP_NUM_THREADS"] = str(threads)
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "helix_jax.net.worker",
                *(str(theirs.fileno()), str(os.getpid())),
                pass_fds=[theirs.fileno(), self._family.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                env=environment,
            )
        self._reader, self._writer = await asyncio.open_connection(sock=ours)
        first = Frame(
            {
                "settings": as_values(self._settings),
                "place": self.number,
                "places": self._settings.workers,
            }
        )
        answer = await self.exchange(first, seconds=_START_SECONDS)
        self.about = answer.head["about"]
        self.serves.set()

    @contextlib.asynccontextmanager
    async def taken(self) -> AsyncIterator[Self]:
        """Exclusive use of the worker, or of its successor if it has died.

        Raises:
          Refusal: no worker serves in time.
        """
        while True:
            try:
                await asyncio.wait_for(self.serves.wait(), _REPLACED_SECONDS)
            except TimeoutError:
                detail = f"worker {self.number} is being replaced"
                raise Refusal("lost", detail, after=1) from None
            async with self.turn:
                if self.serves.is_set():  # it may have died while others used it
                    yield self
                    return

    async def exchange(self, frame: Frame, *, seconds: float) -> Frame:
        """Send a frame and receive its answer; the caller holds `turn`.

        Raises:
          Refusal: the worker refuses, or does not answer, in which case it is killed.
        """
        if self._writer is None or self._reader is None:
            raise Refusal("lost", f"worker {self.number} is being replaced", after=1)
        try:
            async with asyncio.timeout(seconds):
                self._writer.writelines(pack(frame))
                await self._writer.drain()
                answer = await receive_from(self._reader)
        except (
            asyncio.IncompleteReadError,
            ConnectionError,
            TimeoutError,
            asyncio.CancelledError,
        ) as error:
            # A late answer would be taken for that of the next request.
            self.kill()
            if isinstance(error, asyncio.CancelledError):
                raise
            raise Refusal(
                "lost", f"worker {self.number} (process {self.pid}) was lost: {error!r}"
            ) from error
        if not answer.head.get("ok"):
            if answer.head["code"] == "failed":
                LOG.error("worker %d: %s", self.number, answer.head["detail"])
            raise Refusal(answer.head["code"], answer.head["detail"])
        return answer

    def kill(self) -> None:
        """End the process at once."""
        if self._writer is not None:
            self._writer.close()
        self._writer, self.about = None, None
        self.serves.clear()
        self.learnt = set()
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def ended(self) -> int:
        """Wait for the process to end; returns its exit status."""
        return 0 if self._process is None else await self._process.wait()

    async def close(self) -> None:
        """Let the process end, and kill it if it does not."""
        if self._writer is not None:
            self._writer.close()
        self._writer = None
        if self._process is not None:
            try:
                await asyncio.wait_for(self._process.wait(), _BYE_SECONDS)
            except TimeoutError:
                self.kill()
                await self._process.wait()
