r"""Who adds the moments of several silos, without seeing those of one?

    python -m experiments.aggregation_server --sessions=sum.json \
      --identity=aggregator.key --state=STATE --host=0.0.0.0 --port=8450 \
      --certificate=server.pem --private_key=server.key

The aggregator's service: silos (experiments.silo) send it their messages of five
rounds; a round closes when all have answered or its time is over. It holds the sum when
enough have stayed, and nothing of a single silo at any time. Sessions are agreed on
with experiments.sum_session, tokens for silos are made by experiments.tokens with the
same --state, for the names that the silos have in the session.

What it has acknowledged lies in --state: killed and started again with the same flags
it goes on. SIGUSR1 closes the open rounds at once with those who have answered, where
it is known that the others will not; SIGTERM ends it. For a trial on one machine
--plain does without TLS.

Cost: memory beside one vector of a session: 16 bytes a number, 19 MB for 768 x 768; on
the disk one a silo until the sum is there.
"""

import dataclasses
import logging
from pathlib import Path

from helix_jax.errors import RunError
from helix_jax.locks import hold
from helix_jax.net.aggregation import Rounds, aggregation_app, read_agreement
from helix_jax.net.aggregation.desk import Deadlines
from helix_jax.net.aggregation.identity_files import read_identity
from helix_jax.net.aggregation.serving import bearer, serve
from helix_jax.net.identities import Identities
from helix_jax.net.tls import require_plain_allowed, server_context
from helix_jax.runs import option
from helix_jax.runs.program import start_program
from helix_jax.secret_files import require_private_folder


@dataclasses.dataclass(frozen=True)
class AggregationServerConfig:
    """Flags of the program."""

    sessions: tuple[str, ...] = option((), "files of sessions", required=True)
    identity: str = option("", "the signing key's file", names="path", required=True)
    state: str = option("", "folder of what is kept", names="path", required=True)
    host: str = option("127.0.0.1", "address to listen at")
    port: int = option(8450, "port to listen at; 0: one that is free", most=65535)
    certificate: str = option("", "PEM file of the server's certificate", names="path")
    private_key: str = option("", "PEM file of its key", names="path")
    plain: bool = option(False, "without TLS, on this machine alone")
    join_seconds: float = option(
        3600.0, "the first round waits for silos, from the first one's keys", above=0
    )
    round_seconds: float = option(300.0, "every later round waits", above=0)
    publish: bool = option(True, "silos whose rows are in a sum may have it")


def run(config: AggregationServerConfig) -> None:
    """Serve until the end."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    tls = None
    if config.certificate and config.private_key:
        tls = server_context(config.certificate, config.private_key)
    else:
        require_plain_allowed(config.host, config.plain)
    state, (key, _) = Path(config.state), read_identity(Path(config.identity))
    agreements = [read_agreement(path) for path in config.sessions]
    if len({one.digest for one in agreements}) < len(agreements):
        raise RunError("--sessions: two files are of the same session.")
    require_private_folder(state, "--state")
    with hold(state, "an aggregation service"):
        rounds = [Rounds(one, key, state / "sums" / one.digest) for one in agreements]
        app = aggregation_app(
            rounds,
            bearer(Identities(state / "state.db")),
            deadlines=Deadlines(config.join_seconds, config.round_seconds),
            publish=config.publish,
        )
        serve(
            app,
            host=config.host,
            port=config.port,
            tls=tls,
            on_signal=app.state.close_rounds,
            ready=lambda url: print(f"listening at {url}", flush=True),
        )


if __name__ == "__main__":
    start_program(AggregationServerConfig, run)
