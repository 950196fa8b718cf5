r"""How does an organisation add its rows to a sum whose parts nobody sees?

    python -m experiments.silo --url=https://HOST:8450 --session=sum.json \
      --identity=north.key --token_file=north.token --ledger=north.db \
      --source=x.npy --target=y.npy --output=sum [--authority=authority.pem]

One silo of a session (experiments.sum_session): it reads its paired states, sums them
to moments, and sends these under masks to the aggregator
(experiments.aggregation_server), in five rounds. If enough silos stay, it gets the
moments of all silos' rows together, and writes OUTPUT/moments.npz (names as in
`Moments`).

--ledger is the file that records which rows have left this silo in a masked vector;
they enter no second sum unless all silos give --again (docs/aggregation.md, "One sum of
the same rows"). A silo whose process ends has left its session, since its secrets are
lost; before `mask` is reported, that costs nothing.

Cost: 768 x 768 in three silos on two cores: seconds, and 19 MB sent by each.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from pathlib import Path

from helix_jax.array_files import write_npz
from helix_jax.errors import RunError
from helix_jax.paths import os_errors
from helix_jax.private import Ledger
from helix_jax.runs import option
from helix_jax.runs.program import start_program
from helix_jax.secret_files import read_secret

if __name__ != "__main__":  # slow, and flags are read without
    from helix_jax.activations import join, load_embeddings
    from helix_jax.alignment import Moments
    from helix_jax.net.aggregation import SiloConnection, read_agreement, take_part
    from helix_jax.net.aggregation.identity_files import read_identity
    from helix_jax.private.aggregation import Silo, decode, encode, name_moments
    from helix_jax.transfer.pair_fit import pair_moments

INTERRUPTED = (
    "this silo is out of its session, if it had joined: its secrets went with this "
    "process, and the same command cannot resume. Agree on a new session if needed"
)


@dataclasses.dataclass(frozen=True)
class SiloConfig:
    """Flags of the program."""

    url: str = option("", "URL of the aggregator, https://HOST:PORT", required=True)
    session: str = option("", "file of the session", names="path", required=True)
    identity: str = option("", "the signing key's file", names="path", required=True)
    token_file: str = option("", "file of the token", names="path")
    ledger: str = option(
        "", "file that records the rows that have left", names="path", required=True
    )
    source: str = option(
        "", "file of the source's embeddings", names="path", required=True
    )
    target: str = option(
        "", "file of the target's embeddings", names="path", required=True
    )
    output: str = option("", "folder to write to", names="path", required=True)
    authority: str = option(
        "", "PEM file of the server's authority; empty: the system's", names="path"
    )
    pin: str = option("", "pin of the server's key, sha256/...; empty: none")
    certificate: str = option("", "PEM file of this silo's certificate", names="path")
    private_key: str = option("", "PEM file of its key", names="path")
    plain_http: bool = option(False, "no TLS, on this machine only")
    again: bool = option(False, "allow rows that were in a sum before")
    patience_seconds: float = option(
        600.0, "seconds for which the aggregator may be unreachable", above=0
    )


def run(config: SiloConfig) -> Moments:
    """Take part; returns the moments of all silos that stayed."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    agreement = read_agreement(config.session)
    signing_key, verifying_key = read_identity(Path(config.identity))
    members = agreement.session.members
    if verifying_key not in members:
        raise RunError(
            f"--identity={config.identity}: its public key {verifying_key.hex()} is "
            f"not in --session={config.session}."
        )
    number = members.index(verifying_key) + 1
    token = None
    if config.token_file:
        token = read_secret(Path(config.token_file), "a token").decode().strip()
    moments = pair_moments(
        join(load_embeddings(config.source), load_embeddings(config.target))
    )
    silo = Silo(
        agreement.session,
        number,
        signing_key,
        encode(moments, agreement.layout),
        rows=name_moments(moments),
        ledger=Ledger(config.ledger),
        again=config.again,
    )
    told: dict[str, float] = {}
    began = time.process_time()

    def report(step: str) -> None:
        told[step] = time.monotonic()
        print(step, flush=True)

    with SiloConnection(
        config.url,
        agreement,
        patience=config.patience_seconds,
        token=token,
        authority=config.authority or None,
        certificate=config.certificate or None,
        private_key=config.private_key or None,
        pin=config.pin or None,
        plain_http=config.plain_http,
    ) as connection:
        words = take_part(silo, connection, report=report)
        seconds = time.monotonic() - told["share"]  # before that it waited for others
        used = time.process_time() - began
        sent = connection.sent_bytes
    total = decode(words, agreement.layout)
    output = Path(config.output)
    with os_errors(output, "be written", RunError):
        output.mkdir(parents=True, exist_ok=True)
    write_npz(output / "moments.npz", total._asdict(), compressed=False)
    print(
        f"{int(total.count):,} rows, {int(moments.count):,} of them from here; "
        f"{sent:,} bytes sent, {seconds:.2f} s since all had joined "
        f"({used:.2f} s of processor time)\nresults: {output}",
        flush=True,
    )
    return total


if __name__ == "__main__":
    start_program(SiloConfig, run, interrupted=INTERRUPTED)
