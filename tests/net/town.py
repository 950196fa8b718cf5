"""A service with TLS and tokens, for several clients that do as they like."""

from pathlib import Path
from typing import NamedTuple

from helix_jax.net import Connection
from helix_jax.net.identities import Identities
from helix_jax.net.state_file import FILE

from .asking import Asker
from .phoenix import Phoenix, plant_many
from .services import Planted

DAY = 86_400.0
BODY_BYTES, BODY_SECONDS = 8_000_000, 4.0
_SETTINGS = """
certificate = "{certificates}/server.pem"
private_key = "{certificates}/server.key"
client_authority = "{certificates}/authority.pem"
body_seconds = {seconds}
body_bytes = {bytes}
memory_bytes = {memory}
[limits]
requests_per_second = 1e5
keys = 100000
[heads.planted]
path = "{head}"
[heads.labelled]
path = "{head}"
policy = "label"
[rows.many]
path = "{rows}"
"""


class Town(NamedTuple):
    """A service and its clients.

    Attributes:
      phoenix: the service.
      tokens: by client.
      certificates: a folder of them.
      many: x, y and ids of the rows "many".
    """

    phoenix: Phoenix
    tokens: dict[str, str]
    certificates: Path
    many: dict

    def ask(self, client: str) -> Asker:
        """A client's requests as they are."""
        authority = self.certificates / "authority.pem"
        url = self.phoenix.served.url
        return Asker(url, token=self.tokens.get(client, ""), authority=authority)

    def connect(self, client: str, **options) -> Connection:
        """A client as the library has it."""
        trust = {"authority": self.certificates / "authority.pem"}
        given = {"token": self.tokens[client], **trust, **options}
        return self.phoenix.connect(**given)

    def identities(self) -> Identities:
        """Who issues and revokes."""
        return Identities(self.phoenix.served.state / FILE)


def found(folder: Path, planted: Planted, certificates: Path) -> Town:
    """Start the service; ada, bob and eve have tokens."""
    many, state = plant_many(folder), folder / "state"
    config = folder / "service.toml"
    config.write_text(
        _SETTINGS.format(
            certificates=certificates,
            head=planted.head_file,
            rows=many["file"],
            seconds=BODY_SECONDS,
            bytes=float(BODY_BYTES),
            memory=8.0 * BODY_BYTES,
        )
    )
    state.mkdir(0o700)
    issuing = Identities(state / FILE)
    tokens = {name: issuing.issue(name, DAY) for name in ("ada", "bob", "eve")}
    issuing.close()
    phoenix = Phoenix(state, f"--config={config}", tls=True)
    return Town(phoenix, tokens, certificates, many)
