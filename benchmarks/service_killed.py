"""A service that is killed and restarted, with the same state and port."""

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np

from helix_jax.net import Connection, connect
from helix_jax.net.state_file import FILE

ROWS, WIDTH, CLASSES = 4000, 24, 3
_PATIENCE = 600.0


class Killed:
    """A service with one port and one state, and its data in the clear."""

    def __init__(self, folder: Path, generator: np.random.Generator):
        hidden = generator.normal(size=(ROWS, 8))
        self.x, self.y = (
            hidden @ generator.normal(size=(8, WIDTH))
            + 0.3 * generator.normal(size=(ROWS, WIDTH))
            for _ in range(2)
        )
        self.kernel = generator.normal(size=(WIDTH, CLASSES))
        np.savez(folder / "head.npz", kernel=self.kernel, bias=np.zeros(CLASSES))
        np.savez(folder / "rows.npz", y=self.y)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url, self.state = f"http://127.0.0.1:{self.port}", folder / "state"
        config = folder / "service.toml"
        config.write_text(
            "[limits]\nrequests_per_second = 1e6\nbytes_per_day = 1e15\n"
            "keys = 1000000\nfits_per_day = 1000000\n"
            f'[heads.planted]\npath = "{folder}/head.npz"\n'
            f'[rows.many]\npath = "{folder}/rows.npz"\nshare = 1e6\n'
        )
        self._command = [
            *(sys.executable, "-m", "experiments.serve", f"--config={config}"),
            *(f"--state={self.state}", f"--port={self.port}", "--workers=1"),
            *("--plain_http", "--anonymous"),
        ]
        self.process = self.start()

    def start(self) -> subprocess.Popen:
        """Start, and wait until it serves."""
        self.process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        for line in self.process.stdout:
            if " is served at " in line:
                return self.process
        raise SystemExit(f"the service ended with status {self.process.wait()}.")

    def kill(self) -> None:
        """Kill service and workers."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def connect(self) -> Connection:
        """A client that waits for a restarting service."""
        patience = {"patience_seconds": _PATIENCE, "timeout_seconds": _PATIENCE}
        return connect(self.url, plain_http=True, **patience)

    @property
    def family(self) -> list[int]:
        """The service's process and its workers'."""
        own = self.process.pid
        text = Path(f"/proc/{own}/task/{own}/children").read_text()
        return [own, *map(int, text.split())]

    def resident_megabytes(self) -> list[float]:
        """Resident memory of each process."""
        pages = [
            int(Path(f"/proc/{one}/statm").read_text().split()[1])
            for one in self.family
        ]
        return [count * os.sysconf("SC_PAGE_SIZE") / 1e6 for count in pages]

    def references(self) -> list[bytes]:
        """References of all charges."""
        with contextlib.closing(sqlite3.connect(self.state / FILE)) as connection:
            found = connection.execute("SELECT reference FROM charges").fetchall()
        return [reference for (reference,) in found]
