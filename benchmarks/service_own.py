"""Our service on loopback as its program starts it: TLS 1.3, tokens, two workers."""

import contextlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.service_processes import Started, started
from helix_jax.net import Connection, connect, read_token
from helix_jax.net.certificates import make_authority, make_server
from helix_jax.net.identities import Identities
from helix_jax.net.names import LOCAL_NAMES
from helix_jax.net.state import State
from helix_jax.net.state_file import FILE
from helix_jax.private.planted import planted_layer
from helix_jax.secret_files import make_secret

CLIENTS = 8
UNLIMITED = "[limits]\nrequests_per_second = 1e6\nbytes_per_day = 1e15\n"
"""Settings without quotas, to measure a service's speed."""


class Place(NamedTuple):
    """The inputs of every contender.

    Attributes:
      folder: for the contenders' own files.
      problem: .npz file with kernel [d, k], bias [k], x [N, d], calibration [M, d].
      head: .npz file with only kernel and bias.
      norm: the largest norm of x.
      certificate, private_key: files of a server on loopback.
      authority: file of the authority that signed the certificate.
    """

    folder: Path
    problem: Path
    head: Path
    norm: float
    certificate: Path
    private_key: Path
    authority: Path


class Own(NamedTuple):
    """Our service, running.

    Attributes:
      service: its processes.
      place: the inputs of all contenders.
      port: where it listens.
      tokens: folder with one file per client.
    """

    service: Started
    place: Place
    port: int
    tokens: Path

    def connect(self, port: int | None = None) -> Connection:
        """A client in this process, through another port if one is given."""
        return connect(
            f"https://127.0.0.1:{port or self.port}",
            token=read_token(min(self.tokens.iterdir())),
            authority=self.place.authority,
        )

    @contextlib.contextmanager
    def asker(self, head: str) -> Iterator[Started]:
        """A client in its own process, see `peer_services.asking`."""
        place = self.place
        words = place.problem, place.authority, self.port, self.tokens, head
        with started([sys.executable, "-m", "benchmarks.service_asker", *words]) as one:
            yield one


def make_place(folder: Path, *, width: int, classes: int) -> Place:
    """Make one problem and one certificate for all contenders."""
    classifier, x = planted_layer(width=width, classes=classes, queries=2100)
    arrays = {
        "kernel": np.asarray(classifier.kernel),
        "bias": np.asarray(classifier.bias),
    }
    problem, head = folder / "problem.npz", folder / "head.npz"
    np.savez(problem, **arrays, x=x[:100], calibration=x[100:])
    np.savez(head, **arrays)
    norm = float(np.linalg.norm(x, axis=1).max())
    certificates = folder / "certificates"
    authority = make_authority(certificates, days=1).certificate
    server = make_server(certificates, LOCAL_NAMES, days=1)
    return Place(folder, problem, head, norm, *server, authority)


@contextlib.contextmanager
def own_service(
    place: Place, settings: Mapping[str, Any], *, workers: int = 2
) -> Iterator[Own]:
    """Start `experiments.serve`, with a token for each of `CLIENTS` clients.

    Args:
      place: the inputs of all contenders.
      settings: tables of its TOML file: "heads.x" -> its settings.
      workers: processes that compute.
    """
    number = len(list(place.folder.glob("state*")))
    state, tokens = place.folder / f"state{number}", place.folder / f"tokens{number}"
    State(state).close()
    tokens.mkdir()
    identities = Identities(state / FILE)
    for one in range(CLIENTS):
        token = identities.issue(f"client{one}", 86_400.0)
        make_secret(tokens / f"client{one}", token.encode(), "a token")
    identities.close()
    lines = [UNLIMITED]
    for table, values in settings.items():
        # Texts, numbers and booleans are written in TOML as in JSON.
        own = (f"{name} = {json.dumps(value)}" for name, value in values.items())
        lines += [f"[{table}]", *own]
    file = place.folder / f"settings{number}.toml"
    file.write_text("\n".join(lines))
    command = [
        *(sys.executable, "-m", "experiments.serve", f"--config={file}"),
        *(f"--state={state}", "--port=0", f"--workers={workers}"),
        f"--certificate={place.certificate}",
        f"--private_key={place.private_key}",
    ]

    def first(line: str) -> Any:
        found = re.search(r"is served at https://127.0.0.1:(\d+)", line)
        return found and {"port": int(found[1])}

    with started(command, first) as service:
        yield Own(service, place, service.said["port"], tokens)
