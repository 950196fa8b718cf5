"""A provider's service as a process on this machine, over TLS, for demonstrations."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from helix_jax.atomic import write_file
from helix_jax.errors import RunError
from helix_jax.net.certificates import make_authority, make_server
from helix_jax.net.identities import Identities
from helix_jax.net.names import LOCAL_NAMES
from helix_jax.net.state_file import FILE
from helix_jax.progress import stage
from helix_jax.secret_files import make_secret

_DAYS = 30


@contextlib.contextmanager
def local_service(folder: Path, words: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Start experiments.serve, and end it when the block ends.

    It takes a free port, and the same one when it is started again in that folder.

    Args:
      folder: for its certificates, a client's token and its state.
      words: flags that say what it serves.

    Yields:
      Flags of `ServiceOptions` by which a client finds and trusts it.

    Raises:
      RunError: it ended before it was ready.
    """
    certificates, state, token = (
        folder / name for name in ("certificates", "state", "client.token")
    )
    state.mkdir(0o700, parents=True, exist_ok=True)
    if not certificates.exists():
        make_authority(certificates, days=_DAYS)
        make_server(certificates, LOCAL_NAMES, days=_DAYS)
    if not token.exists():
        identities = Identities(state / FILE)
        issued = identities.issue("client", _DAYS * 86_400.0)
        make_secret(token, issued.encode(), "a client's token", raises=RunError)
        identities.close()
    port, log = folder / "port", folder / "service.log"
    if not port.exists():
        with socket.create_server(("127.0.0.1", 0)) as free:
            write_file(port, str(free.getsockname()[1]))
    with stage("starting a provider's service over TLS"), log.open("w") as errors:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "experiments.serve"),
                *(f"--state={state}", f"--port={port.read_text()}", "--workers=1"),
                f"--certificate={certificates / 'server.pem'}",
                f"--private_key={certificates / 'server.key'}",
                *words,
            ],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        url = next(
            (line.split()[-1] for line in process.stdout if " is served at " in line),
            None,
        )
    if url is None:
        said = log.read_text().strip().splitlines()[-1:]
        raise RunError(f"experiments.serve ended ({log}): {' '.join(said)}")
    try:
        yield {
            "url": url,
            "token": str(token),
            "authority": str(certificates / "authority.pem"),
        }
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
