r"""How are the moments of several silos added without anybody seeing those of one?

    python -m experiments.aggregation_server --sessions=sum.json \
      --identity=aggregator.key --state=STATE --host=0.0.0.0 --port=8450 \
      --certificate=server.pem --private_key=server.key

The aggregator's service: silos (experiments.silo) send it their messages in five
rounds; a round closes when all silos have answered or its time is up. It gets the sum
if enough silos stay, and never learns anything about a single silo. Sessions are agreed
on with experiments.sum_session. experiments.tokens, with the same --state, makes a
token for each silo, under its name in the session.

Everything that it has acknowledged is in --state: if it is killed and started again
with the same flags, it resumes. SIGUSR1 closes the open rounds at once with the silos
that have answered, for when the others are known to be gone; SIGTERM ends the service.
For a trial on one machine, --plain_http turns TLS off.

Cost: one vector of a session in memory, 16 bytes per number, 19 MB for 768 x 768;
on disk one vector per silo until the sum is made.
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

from helix_jax.errors import RunError
from helix_jax.runs import option
from helix_jax.runs.program import start_program

if __name__ != "__main__":  # slow, and flags are read without
    from helix_jax.net.aggregation import (
        AGGREGATION_DOORS,
        AggregationService,
        read_agreement,
    )
    from helix_jax.net.aggregation.desk import Deadlines
    from helix_jax.net.aggregation.identity_files import read_identity
    from helix_jax.net.server import check_listening, serve_service
    from helix_jax.net.settings import ServiceSettings


@dataclasses.dataclass(frozen=True)
class AggregationServerConfig:
    """Flags of the program."""

    sessions: tuple[str, ...] = option((), "session files", required=True)
    identity: str = option("", "the signing key's file", names="path", required=True)
    state: str = option(
        "", "folder of the service's state", names="path", required=True
    )
    host: str = option("127.0.0.1", "address to listen on")
    port: int = option(8450, "port; 0: any free one", least=0, most=65535)
    certificate: str = option("", "PEM file of TLS", names="path")
    private_key: str = option("", "PEM file of its key", names="path")
    client_authority: str = option(
        "", "PEM file of an authority whose certificates silos may show", names="path"
    )
    plain_http: bool = option(False, "no TLS, on this machine only")
    join_seconds: float = option(
        3600.0,
        "seconds that the first round waits after the first silo's keys",
        above=0,
    )
    round_seconds: float = option(300.0, "seconds that each later round waits", above=0)
    publish: bool = option(True, "give the sum to silos whose rows are in it")


def run(config: AggregationServerConfig) -> None:
    """Serve until told to end."""
    settings = ServiceSettings(
        name="the aggregator",
        state=config.state,
        host=config.host,
        port=config.port,
        certificate=config.certificate,
        private_key=config.private_key,
        client_authority=config.client_authority,
        plain_http=config.plain_http,
    )
    check_listening(settings)
    key, _ = read_identity(Path(config.identity))
    agreements = [read_agreement(path) for path in config.sessions]
    if len({one.digest for one in agreements}) < len(agreements):
        raise RunError("--sessions: two files describe the same session.")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    service = AggregationService(
        settings,
        agreements,
        key,
        deadlines=Deadlines(config.join_seconds, config.round_seconds),
        publish=config.publish,
    )
    serve_service(
        settings,
        service,
        AGGREGATION_DOORS,
        on_ready=lambda url: print(f"{settings.name} is served at {url}", flush=True),
    )


if __name__ == "__main__":
    start_program(AggregationServerConfig, run)
