"""A provider's service that is killed and comes back: same state, same port."""

import contextlib
import json
import os
import resource
import signal
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from helix_jax.net import Connection, connect
from helix_jax.net.audit import FILE as AUDIT
from helix_jax.net.state_file import FILE as STATE

from .services import Served, start_service

PATIENCE = 240.0


class Phoenix:
    """A service of one worker, over the state that its predecessors have left.

    Attributes:
      served: the one that lives; its process leads a group of its own.
    """

    def __init__(self, state: Path, *words: str, tls: bool = False):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self._state, self._words, self._tls = state, (*words, f"--port={port}"), tls
        self.served: Served = self.start()

    def start(self) -> Served:
        """Start again."""
        self.served = start_service(self._state, *self._words, tls=self._tls)
        return self.served

    def kill(self) -> None:
        """End service and workers at this instant."""
        os.killpg(self.served.process.pid, signal.SIGKILL)
        self.served.process.wait(60)
        self.served.process.stdout.close()

    def connect(self, **options) -> Connection:
        """A client that waits for a service which comes back."""
        patience = {"patience_seconds": PATIENCE, "timeout_seconds": PATIENCE}
        return connect(self.served.url, **{"plain_http": True, **patience, **options})

    @property
    def workers(self) -> list[int]:
        """The processes of its workers."""
        return children(self.served.process.pid)

    def audited(self) -> list[dict]:
        """The lines of the audit log that are whole."""
        text = (self._state / AUDIT).read_text(encoding="utf-8")
        return [json.loads(line) for line in text.split("\n")[:-1] if line]

    def charges(self) -> list[tuple[bytes, bytes, str, float]]:
        """Subject, reference, client and bits of all that was charged."""
        with contextlib.closing(sqlite3.connect(self._state / STATE)) as connection:
            ask = "SELECT subject, reference, client, bits FROM charges"
            return connection.execute(ask).fetchall()

    def totals(self) -> dict[tuple[bytes, str], float]:
        """Bits by subject and client, as the ledger adds them up."""
        with contextlib.closing(sqlite3.connect(self._state / STATE)) as connection:
            ask = "SELECT subject, client, bits FROM totals"
            return {row[:2]: row[2] for row in connection.execute(ask)}


def children(process: int) -> list[int]:
    """The processes that a process has started and not buried."""
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(number) for number in text.split()]


def lives(process: int) -> bool:
    """Whether a process still runs."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def wait_until(holds: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Wait for a condition.

    Raises:
      AssertionError: it does not come about.
    """
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"waited {seconds:g} s in vain: {what}"
        time.sleep(0.01)


@contextlib.contextmanager
def stopped(process: int) -> Iterator[None]:
    """A process that does nothing during a block."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGCONT)


@contextlib.contextmanager
def no_room(processes: Sequence[int], *, size: int = 0) -> Iterator[None]:
    """Files of these processes do not grow beyond a size, as on a full disk."""
    before = {
        one: resource.prlimit(one, resource.RLIMIT_FSIZE, (size, -1))
        for one in processes
    }
    try:
        yield
    finally:
        for one, limits in before.items():
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(one, resource.RLIMIT_FSIZE, limits)


def plant_many(folder: Path, *, rows: int = 4000, width: int = 24) -> dict[str, object]:
    """Rows of a fit of several messages: x and y in the clear, ids, y's file."""
    generator = np.random.default_rng(11)
    hidden = generator.normal(size=(rows, 8))
    x, y = (
        hidden @ generator.normal(size=(8, width))
        + 0.3 * generator.normal(size=(rows, width))
        for _ in range(2)
    )
    ids = [f"text-{number}" for number in range(rows)]
    np.savez(folder / "many.npz", y=y, ids=np.array(ids))
    return {"x": x, "y": y, "ids": ids, "file": folder / "many.npz"}
