"""What tests of the aggregation service share: parties, a server, silos as process."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np

from helix_jax.alignment import accumulate
from helix_jax.net.aggregation import Agreement, SiloConnection
from helix_jax.net.aggregation.agreement import new_agreement
from helix_jax.net.aggregation.rounds import Rounds
from helix_jax.net.identities import Identities
from helix_jax.private.aggregation import (
    MomentsFormat,
    Silo,
    encode,
    new_identity,
    rehearse,
)

ROOT = Path(__file__).parents[2]
DX, DY, ROWS = 3, 2, 20
PATIENCE = 120.0  # seconds for which anything is waited for


class Parties(NamedTuple):
    """The silos of a session, with all that they know, and the aggregator's key."""

    agreement: Agreement
    aggregator_key: bytes
    keys: list[bytes]
    rows: list[tuple[np.ndarray, np.ndarray]]
    vectors: list[np.ndarray]

    def silo(self, number: int, **options) -> Silo:
        """A silo in this process, which remembers nothing."""
        options = {"rows": number.to_bytes(2), "ledger": None} | options
        key, words = self.keys[number - 1], self.vectors[number - 1]
        return Silo(self.agreement.session, number, key, words, **options)

    def rounds(self, folder: Path) -> Rounds:
        """The aggregator's side, in a folder."""
        return Rounds(self.agreement, self.aggregator_key, folder)

    def rehearsed(self, leaves=None) -> np.ndarray:
        """The total that the same silos come to in one process."""
        session = self.agreement.session
        return rehearse(
            self.vectors,
            content=session.content,
            threshold=session.threshold,
            leaves=leaves,
        ).total


def make_parties(
    silos: int,
    *,
    threshold: int | None = None,
    seed: int = 0,
    aggregator_key: bytes | None = None,
) -> Parties:
    """Planted rows in silos named silo-1, silo-2, ..."""
    rng = np.random.default_rng(seed)
    layout = MomentsFormat(DX, DY, silos)
    identities = [new_identity() for _ in range(silos + 1)]
    if aggregator_key is not None:
        identities[0] = new_identity(lambda _: aggregator_key)
    agreement = new_agreement(
        identities[0][1],
        {f"silo-{k}": identities[k][1] for k in range(1, silos + 1)},
        layout,
        threshold=threshold,
    )
    rows = [
        tuple(rng.normal(size=(ROWS, d)).astype(np.float32) for d in (DX, DY))
        for _ in range(silos)
    ]
    vectors = [encode(accumulate([pair]), layout) for pair in rows]
    keys = [signing for signing, _ in identities]
    return Parties(agreement, keys[0], keys[1:], rows, vectors)


class Place(NamedTuple):
    """Files of one machine for everybody: state, certificates, tokens."""

    folder: Path
    certificates: Path
    parties: Parties
    tokens: list[str]

    @property
    def state(self) -> Path:
        """The folder of the service."""
        return self.folder / "state"

    @property
    def sums(self) -> Path:
        """Where the service keeps the session."""
        return self.state / "sums" / self.parties.agreement.digest

    def connect(self, url: str, number: int, **options) -> SiloConnection:
        """A silo's connection from this process."""
        return SiloConnection(
            url,
            self.parties.agreement,
            **{
                "token": self.tokens[number - 1],
                "authority": self.certificates / "authority.pem",
                "patience": PATIENCE,
            }
            | options,
        )


def prepare(folder: Path, certificates: Path, parties: Parties) -> Place:
    """Write what the processes read."""
    state = folder / "state"
    state.mkdir(mode=0o700)
    with contextlib.closing(Identities(state / "state.db")) as identities:
        tokens = [identities.issue(n, 3600) for n in parties.agreement.names]
    write_secret(folder / "aggregator.key", parties.aggregator_key.hex())
    (folder / "sum.json").write_text(parties.agreement.to_json())
    for k, (x, y) in enumerate(parties.rows, start=1):
        write_secret(folder / f"{k}.key", parties.keys[k - 1].hex())
        write_secret(folder / f"{k}.token", tokens[k - 1])
        for name, part in (("x", x), ("y", y)):
            np.save(folder / f"{k}.{name}.npy", part)
            ids = "".join(f"{row}\n" for row in range(len(part)))
            (folder / f"{k}.{name}.ids.txt").write_text(ids)
    return Place(folder, certificates, parties, tokens)


def write_secret(path: Path, text: str) -> None:
    """A file that only its owner may read."""
    path.touch(mode=0o600)
    path.write_text(text + "\n")


class Program:
    """A program in a process of its own, whose lines are read as they come."""

    def __init__(self, name: str, *flags: str):
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"experiments.{name}", *flags],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self._timer = threading.Timer(3 * PATIENCE, self.process.kill)
        self._timer.daemon = True
        self._timer.start()

    def wait_for(self, start: str) -> str:
        """The next line that begins so."""
        for line in self.process.stdout:
            if line.startswith(start):
                return line.strip()
        raise AssertionError(f"ended with {self.process.wait()} before {start!r}")

    def end(self) -> int:
        """Ask it to end, in order; its exit status."""
        self._timer.cancel()
        self.process.terminate()
        status = self.process.wait(PATIENCE)
        self.process.stdout.close()
        return status

    def kill(self) -> None:
        """End it as a power cut would, and wait for that."""
        self._timer.cancel()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()


def start_server(place: Place, *flags: str, port: int = 0) -> tuple[Program, str]:
    """The aggregator's program, and its URL."""
    program = Program(
        "aggregation_server",
        f"--sessions={place.folder / 'sum.json'}",
        f"--identity={place.folder / 'aggregator.key'}",
        f"--state={place.state}",
        f"--certificate={place.certificates / 'server.pem'}",
        f"--private_key={place.certificates / 'server.key'}",
        f"--port={port}",
        *flags,
    )
    url = program.wait_for("the aggregator is served at ").split()[-1]
    return program, url


def start_silo(place: Place, url: str, number: int, *flags: str) -> Program:
    """A silo's program."""
    here = place.folder
    return Program(
        "silo",
        f"--url={url}",
        f"--session={here / 'sum.json'}",
        f"--identity={here / f'{number}.key'}",
        f"--token_file={here / f'{number}.token'}",
        f"--ledger={here / f'{number}.db'}",
        f"--source={here / f'{number}.x.npy'}",
        f"--target={here / f'{number}.y.npy'}",
        f"--output={here / f'{number}.sum'}",
        f"--authority={place.certificates / 'authority.pem'}",
        *flags,
    )


def wait_until(there, what: str):
    """Ask until it is so; nothing is assumed about how long that takes."""
    end = threading.Event()
    for _ in range(int(PATIENCE / 0.02)):
        if there():
            return
        end.wait(0.02)
    raise AssertionError(f"{what}: not so after {PATIENCE:g} seconds")
