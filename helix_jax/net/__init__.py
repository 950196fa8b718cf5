"""The service of a provider and its clients, over a network; see docs/protocol.md.

A provider: `experiments.serve`. A client: `experiments.query`, or in a script

    provider = connect("https://provider.example:8443", token=..., authority=...)
    fitted = provider.fit("trec", states, ids=ids)
    logits = provider.classify("trec", x)
"""

from typing import TYPE_CHECKING

from helix_jax.lazy import lazy_names

if TYPE_CHECKING:
    from helix_jax.net.async_connection import AsyncConnection
    from helix_jax.net.connection import Connection, connect, connect_async
    from helix_jax.net.remote_fit import RemoteFit
    from helix_jax.net.transport import ServiceError, Transport, read_token

__all__ = [
    "AsyncConnection",
    "Connection",
    "RemoteFit",
    "ServiceError",
    "Transport",
    "connect",
    "connect_async",
    "read_token",
]
lazy_names(__name__)
