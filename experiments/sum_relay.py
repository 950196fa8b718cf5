r"""How does a client get the sum of several providers' answers, and none of them alone?

    python -m experiments.sum_relay --config=sums.toml

A service between clients and providers (experiments.serve). A client's encrypted query
goes to every provider of a sum, their encrypted answers are added, and the sum goes
back. The providers see no query, the client sees no single provider's result, and this
service sees neither. Clients query it like a provider, with
helix_jax.net.connect(url).classify. helix_jax/net/aggregation/sum_settings.py describes
the file. The sum of several classifiers is the sum of their logits; for a weighted
mean, scale each by its weight before.

The service and a client that collude can open every provider's answers. Providers serve
the heads of a sum only to this service: docs/aggregation.md, "Answers of several
providers".

Cost: a query to the slowest provider, and some milliseconds.
"""

from __future__ import annotations

import dataclasses
import logging

from helix_jax.runs import option
from helix_jax.runs.program import start_program

if __name__ != "__main__":  # slow, and flags are read without
    from helix_jax.net.aggregation.provider_sums import DOORS_OF_SUMS, SumService
    from helix_jax.net.aggregation.sum_settings import read_sum_settings
    from helix_jax.net.server import check_listening, serve_service


@dataclasses.dataclass(frozen=True)
class SumRelayConfig:
    """Flags of the program."""

    config: str = option("", "TOML file of settings", names="path", required=True)


def run(config: SumRelayConfig) -> None:
    """Serve until told to end."""
    settings = read_sum_settings(config.config)
    check_listening(settings.service)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    serve_service(
        settings.service,
        SumService(settings),
        DOORS_OF_SUMS,
        on_ready=lambda url: print(
            f"{settings.service.name} is served at {url}", flush=True
        ),
    )


if __name__ == "__main__":
    start_program(SumRelayConfig, run)
