"""A service of real processes on loopback, and what it serves."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from helix_jax.net import Connection, connect

WIDTH, CLASSES, ROWS = 24, 3, 240
ENDED = r" has ended: [\d,]+ requests answered, state in \S+"


class Served(NamedTuple):
    """A provider's process.

    Attributes:
      url: where it listens.
      process: of the service; its workers are its children.
      state: its folder.
    """

    url: str
    process: subprocess.Popen
    state: Path

    def connect(self, **options) -> Connection:
        """A client without TLS."""
        return connect(self.url, **{"plain_http": True, **options})


class Planted(NamedTuple):
    """What the provider has in the clear, and the client's rows of the same texts."""

    kernel: np.ndarray
    bias: np.ndarray
    x: np.ndarray
    y: np.ndarray
    ids: list[str]
    head_file: Path
    rows_file: Path

    @property
    def noise(self) -> float:
        """Most that "rounded:12" adds to a result, of a query of norm 60 at most.

        Its standard deviation is 2^-11 of the largest result at most, and the noise, a
        sum of four uniform numbers, 2 sqrt 3 of these.
        """
        reach = 60.0 * np.linalg.norm(self.kernel, axis=0).max()
        return 2 * 3**0.5 * (reach + np.abs(self.bias).max()) / 2**11


def plant(folder: Path) -> Planted:
    """A head and rows in files."""
    generator = np.random.default_rng(7)
    kernel = generator.normal(size=(WIDTH, CLASSES))
    bias = generator.normal(size=CLASSES)
    hidden = generator.normal(size=(ROWS, 8))
    x, y = (
        hidden @ generator.normal(size=(8, WIDTH))
        + 0.3 * generator.normal(size=(ROWS, WIDTH))
        for _ in range(2)
    )
    ids = [f"text-{number}" for number in range(ROWS)]
    head, rows = folder / "head.npz", folder / "rows.npz"
    np.savez(head, kernel=kernel, bias=bias)
    np.savez(rows, y=y, ids=np.array(ids))
    return Planted(kernel, bias, x, y, ids, head, rows)


@contextlib.contextmanager
def serving(state: Path, *words: str, tls: bool = False) -> Iterator[Served]:
    """A service started by its program, ended in order when the block ends."""
    one = start_service(state, *words, tls=tls)
    try:
        yield one
    finally:
        stop_service(one.process)


def start_service(state: Path, *words: str, tls: bool = False) -> Served:
    """Start the program, and wait until it says where it listens."""
    plain = () if tls else ("--plain_http", "--anonymous")
    given = {word.partition("=")[0] for word in words}
    usual = ("--port=0", "--workers=1")
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "experiments.serve"),
            *(word for word in usual if word.partition("=")[0] not in given),
            *(f"--state={state}", *plain, *words),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
        start_new_session=True,
    )
    for line in process.stdout:
        if " is served at " in line:
            return Served(line.split()[-1], process, state)
    raise AssertionError(f"the service ended with status {process.wait()}")


def stop_service(process: subprocess.Popen, sig: int = signal.SIGTERM) -> int:
    """End a service, which then says what it has done; its exit status."""
    process.send_signal(sig)
    status = process.wait(60)
    with process.stdout:
        if status == 0:
            assert re.search(ENDED, process.stdout.read())
    return status
