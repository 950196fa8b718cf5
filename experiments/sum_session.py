r"""What do several silos and an aggregator agree on, before they sum over a network?

    python -m experiments.sum_session --new_identity=north.key
    python -m experiments.sum_session --session=sum.json --aggregator=KEY \
      --silos=north=KEY,south=KEY,east=KEY --source_width=768 --target_width=768
    python -m experiments.sum_session --show=sum.json

Each party makes an identity once, keeps the file and tells the others the key that is
printed, over a channel on which nobody can change it. One of them writes the session's
file and sends it to all; each looks at it with --show and compares the digest with the
others, for example by telephone: any other key, width or threshold changes the digest.
Then experiments.aggregation_server and experiments.silo run it. A session is one sum.
Who may collude with whom: docs/aggregation.md, "Assumptions".

Cost: two seconds.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from helix_jax.atomic import write_file
from helix_jax.errors import RunError
from helix_jax.runs import option
from helix_jax.runs.program import start_program

if __name__ != "__main__":  # slow, and flags are read without
    from helix_jax.net.aggregation.agreement import (
        Agreement,
        new_agreement,
        parse_key,
        read_agreement,
    )
    from helix_jax.net.aggregation.identity_files import make_identity
    from helix_jax.private.aggregation import MomentsFormat


@dataclasses.dataclass(frozen=True)
class SumSessionConfig:
    """Flags of the program."""

    new_identity: str = option("", "file to make for a new signing key", names="path")
    session: str = option("", "session file to make", names="path")
    show: str = option("", "session file to describe", names="path")
    aggregator: str = option("", "public key of the aggregator")
    silos: tuple[str, ...] = option((), "NAME=KEY of each silo, in order")
    source_width: int = option(0, "width of the source's states", least=0)
    target_width: int = option(0, "width of the target's states", least=0)
    threshold: int = option(0, "silos that must stay; 0: two thirds plus one", least=0)
    colluders: int = option(
        -1, "silos that may collude with the aggregator; -1: as many as possible"
    )
    row_bits: int = option(24, "no silo has more than 2^bits rows", least=0, most=48)
    value_bits: int = option(
        10, "public bound: means below 2^bits, variances 4^bits", least=-40, most=40
    )


def run(config: SumSessionConfig) -> str:
    """Do the one requested action; returns the key or the digest."""
    actions = [config.new_identity, config.session, config.show]
    if sum(map(bool, actions)) != 1:
        raise RunError("give one of --new_identity, --session and --show.")
    if config.new_identity:
        key = make_identity(Path(config.new_identity)).hex()
        print(f"public key: {key}")
        return key
    if config.show:
        return _describe(read_agreement(config.show))
    if Path(config.session).exists():
        raise RunError(f"--session={config.session} exists and is never overwritten.")
    agreement = _agreed(config)
    write_file(config.session, agreement.to_json())
    return _describe(agreement)


def _agreed(config: SumSessionConfig) -> Agreement:
    if not (config.aggregator and config.source_width and config.target_width):
        raise RunError(
            "--session needs --aggregator, --silos, --source_width and --target_width."
        )
    silos = {}
    for item in config.silos:
        name, _, key = item.partition("=")
        if name in silos:
            raise RunError(f"--silos: {name!r} is given twice.")
        silos[name] = parse_key(key)
    layout = MomentsFormat(
        config.source_width,
        config.target_width,
        len(silos),
        row_bits=config.row_bits,
        value_bits=config.value_bits,
    )
    return new_agreement(
        parse_key(config.aggregator),
        silos,
        layout,
        threshold=config.threshold or None,
        colluders=None if config.colluders < 0 else config.colluders,
    )


def _describe(agreement: Agreement) -> str:
    session, layout = agreement.session, agreement.layout
    print(
        f"digest: {agreement.digest}\n"
        f"silos: {', '.join(agreement.names)}; {session.threshold} must stay, "
        f"{session.colluders} may collude with the aggregator\n"
        f"moments of widths {layout.dx} and {layout.dy}: {16 * session.length:,} bytes "
        "from each silo"
    )
    return agreement.digest


if __name__ == "__main__":
    start_program(SumSessionConfig, run)
