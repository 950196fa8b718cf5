"""What an application needs of a service, and of one that answers clients' messages.

`service.Service` has all of it; services that compute in their own process begin with
`aggregation.service_base.ServiceBase`.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from helix_jax.net.audit import Audit
from helix_jax.net.limits import Meters
from helix_jax.net.metrics import Metrics
from helix_jax.net.settings import ServiceSettings
from helix_jax.net.worker_place import Place


class Workers(Protocol):
    """Processes that compute, as metrics and health describe them."""

    @property
    def ready(self) -> bool:
        """Whether one serves."""

    @property
    def places(self) -> Sequence[Place]:
        """One for each."""


class Served(Protocol):
    """A service: who may ask is known, what is asked is bounded and counted."""

    draining: bool
    """No new work is taken."""

    @property
    def settings(self) -> ServiceSettings:
        """Where it listens, and its limits."""

    @property
    def pool(self) -> Workers:
        """What computes."""

    @property
    def meters(self) -> Meters:
        """What each client has used."""

    @property
    def metrics(self) -> Metrics:
        """Numbers of all requests."""

    @property
    def audit(self) -> Audit:
        """The log of who asked for what."""

    async def start(self) -> None:
        """Be ready to answer."""

    async def close(self) -> None:
        """Leave the state whole."""

    def capabilities(self) -> dict[str, Any]:
        """What a client must know before it asks; JSON-able."""
        ...

    async def account(self, identity: str) -> dict[str, Any]:
        """What a client has had; JSON-able."""
        ...


class Answering(Served, Protocol):
    """A service whose heads answer messages under a client's key."""

    async def put_key(self, identity: str, name: str, bundle: bytes) -> None:
        """Register a client's key."""

    async def offer(self, identity: str, head: str) -> bytes:
        """The layer of a head."""
        ...

    async def ask(self, identity: str, head: str, what: str, message: bytes) -> bytes:
        """Answer a message to a head."""
        ...
