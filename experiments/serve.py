r"""A provider's service: classifiers, rows to fit to and indexes, under encryption.

    make certificates
    python -m experiments.tokens --state=state --issue=alice --out=alice.token
    python -m experiments.serve --state=state --certificate=certificates/server.pem \
      --private_key=certificates/server.key --heads=trec=runs/trec/target_probe \
      --rows="trec=runs/trec/stores/TARGET-trec-fit-*"

A head needs `input_norm` in --config if no rows of its width are served. Clients use
experiments.query or helix_jax.net.connect. --config=FILE sets more than flags can
(budgets, policies by client, limits): docs/deploy.md; a flag overrides it. SIGTERM ends
the service in order: requests in progress are answered, and the state is complete.

Cost: 0.6 GB per worker; a query of width 768 and 5 classes some 5 milliseconds.
"""

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

from helix_jax.errors import RunError
from helix_jax.runs import option
from helix_jax.runs.program import start_program

if __name__ != "__main__":  # of an extra, and flags are read without
    from helix_jax.net.server import serve
    from helix_jax.net.settings_file import make_settings, read_settings


@dataclasses.dataclass(frozen=True)
class ServeConfig:
    """Flags; an empty one leaves the file's setting, or its default."""

    config: str = option("", "TOML file of settings", names="path")
    state: str = option("", "folder of state that outlives the service", names="path")
    heads: tuple[str, ...] = option((), "NAME=PATH of classifiers to serve")
    rows: tuple[str, ...] = option((), "NAME=PATH of rows to fit to")
    indexes: tuple[str, ...] = option((), "NAME=PATH of indexes to search")
    host: str = option("", "address to listen on; empty: 127.0.0.1")
    port: int = option(-1, "port; 0: any free one; -1: 8443", least=-1, most=65535)
    certificate: str = option("", "PEM file of TLS", names="path")
    private_key: str = option("", "PEM file of its key", names="path")
    client_authority: str = option(
        "", "PEM file of an authority whose certificates clients may show", names="path"
    )
    plain_http: bool = option(False, "no TLS, on this machine only")
    anonymous: bool = option(False, "no tokens, on this machine only")
    workers: int = option(0, "processes that compute; 0: 2", least=0)


def settings_of(config: ServeConfig) -> dict[str, Any]:
    """The file's settings, overridden by the flags.

    Raises:
      RunError: a flag is not NAME=PATH.
    """
    values = read_settings(config.config) if config.config else {}
    for name in ("heads", "rows", "indexes"):
        given = _named(name, getattr(config, name))
        for one, own in given.items():  # its other settings in the file stay
            table = values.setdefault(name, {})
            table[one] = {**table.get(one, {}), **own}
    for name in ("state", "host", "certificate", "private_key", "client_authority"):
        if getattr(config, name):
            values[name] = getattr(config, name)
    if config.port >= 0:
        values["port"] = config.port
    if config.workers:
        values["workers"] = config.workers
    for name in ("plain_http", "anonymous"):
        if getattr(config, name):
            values[name] = True
    return values


def _named(flag: str, words: Sequence[str]) -> dict[str, dict[str, str]]:
    found = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not (name and equals and path):
            raise RunError(f"--{flag}: expected NAME=PATH, got {word!r}.")
        found[name] = {"path": path}
    return found


def run(config: ServeConfig) -> None:
    """Serve until told to end."""
    settings = make_settings(settings_of(config))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    serve(
        settings,
        on_ready=lambda url: print(f"{settings.name} is served at {url}", flush=True),
    )


if __name__ == "__main__":
    start_program(ServeConfig, run, doc=__doc__)
