r"""How do a provider and its clients identify each other in a trial?

    python -m experiments.certificates --folder=certificates
    python -m experiments.certificates --folder=certificates --make=client --clients=ada
    python -m experiments.certificates --folder=certificates --make=server \
      --names=provider.example.org,192.0.2.7

Makes an authority, a server's certificate and one for each client, signed by it, with
their keys (mode 0600); prints where they are, until when they are valid and the pin of
the server's key. No file is overwritten. The authority's key is needed only to sign:
whoever has it can pose as any client. docs/deploy.md says who gets which file.

Cost: two seconds.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from helix_jax.net.names import AUTHORITY, LOCAL_NAMES, MOST_DAYS, SERVER
from helix_jax.reports import Table
from helix_jax.runs import Report, Run, experiment, option

if __name__ != "__main__":  # of an extra, and flags are read without
    from helix_jax.net.certificate_files import Pair, require_free
    from helix_jax.net.certificates import (
        check_client,
        check_server,
        make_authority,
        make_client,
        make_server,
    )
    from helix_jax.net.pins import pin_of
    from helix_jax.net.tls import read_certificate


@dataclasses.dataclass(frozen=True)
class CertificatesConfig:
    """Flags of the program."""

    folder: str = option("", "folder of the files", names="path", required=True)
    make: str = option(
        "all", "what to make", choices=("all", AUTHORITY, SERVER, "client")
    )
    names: tuple[str, ...] = option(
        LOCAL_NAMES, "host names and addresses of the server"
    )
    clients: tuple[str, ...] = option(
        ("client",), "identities of clients, also the names of their files"
    )
    days: int = option(
        90, "validity of servers and clients, in days", least=1, most=MOST_DAYS
    )
    authority_days: int = option(
        1825, "validity of the authority, in days", least=1, most=MOST_DAYS
    )

    def check(self) -> None:
        """Refuse everything that can be refused before a file is made."""
        check_server(self.names)
        for client in self.clients:
            check_client(client)


@experiment()
def compute(config: CertificatesConfig, _: Run | None) -> Report:
    """Make the certificates that --make names."""
    folder, made = Path(config.folder), []
    kinds = {AUTHORITY, SERVER, "client"} if config.make == "all" else {config.make}
    clients = config.clients if "client" in kinds else ()
    require_free(folder, [*(kinds - {"client"}), *clients])
    if AUTHORITY in kinds:
        made.append(make_authority(folder, days=config.authority_days))
    if SERVER in kinds:
        made.append(make_server(folder, config.names, days=config.days))
    made += [make_client(folder, one, days=config.days) for one in clients]
    head = ["certificate", "private key", "for", "valid until (UTC)", "pin"]
    return Report({}, [Table("Certificates", head, [_row(one) for one in made])])


def _row(made: Pair) -> list[str]:
    certificate = read_certificate(made.certificate)
    (name,) = certificate.subject
    ends = f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M}"
    places = str(made.certificate), str(made.private_key)
    return [*places, str(name.value), ends, pin_of(certificate)]


run = compute.run

if __name__ == "__main__":
    compute.main()
