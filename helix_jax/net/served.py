"""What an application needs from a service, and from one that answers messages.

`service.Service` provides all of it; services that compute in their own process build
on `aggregation.service_base.ServiceBase`.
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
        """Whether at least one serves."""

    @property
    def places(self) -> Sequence[Place]:
        """One for each worker."""


class Served(Protocol):
    """A service that knows its clients, and limits and counts their requests."""

    draining: bool
    """Whether no new work is accepted."""

    @property
    def settings(self) -> ServiceSettings:
        """Where the service listens, and its limits."""

    @property
    def pool(self) -> Workers:
        """The workers."""

    @property
    def meters(self) -> Meters:
        """What each client has used."""

    @property
    def metrics(self) -> Metrics:
        """Counters of all requests."""

    @property
    def audit(self) -> Audit:
        """The log of who asked for what."""

    async def start(self) -> None:
        """Get ready to answer."""

    async def close(self) -> None:
        """Close, leaving the state complete."""

    def capabilities(self) -> dict[str, Any]:
        """What a client must know before it asks; JSON-able."""
        ...

    async def account(self, identity: str) -> dict[str, Any]:
        """What a client has used; JSON-able."""
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
