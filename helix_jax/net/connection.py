"""A client of a provider's service, for scripts.

    provider = connect("https://provider.example:8443", token=..., authority=...)
    logits = provider.classify("trec", x)

Each call returns when it is done; `connect_async` is for programs with an event loop.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from helix_jax.generation.generate import Generated
from helix_jax.net.async_connection import AsyncConnection
from helix_jax.net.background import Background
from helix_jax.net.remote_fit import RemoteFit
from helix_jax.net.transport import Transport
from helix_jax.private.search import Document, Hit


class Connection:
    """The same for scripts: each call returns when it is done."""

    def __init__(self, make: Callable[[], AsyncConnection]):
        self._background = Background()
        self._wait = self._background.wait
        self._own = self._background.make(make)

    def about(self) -> dict[str, Any]:
        """See `AsyncConnection.about`."""
        return self._wait(self._own.about())

    def account(self) -> dict[str, Any]:
        """See `AsyncConnection.account`."""
        return self._wait(self._own.account())

    def classify(self, head: str, x: np.ndarray) -> np.ndarray:
        """See `AsyncConnection.classify`."""
        return self._wait(self._own.classify(head, x))

    def fit(self, rows: str, x: np.ndarray, **options: Any) -> RemoteFit:
        """See `AsyncConnection.fit`."""
        return self._wait(self._own.fit(rows, x, **options))

    def search(self, index: str, x: np.ndarray, *, k: int = 10) -> list[Hit]:
        """See `AsyncConnection.search`."""
        return self._wait(self._own.search(index, x, k=k))

    def read(self, index: str, hit: Hit) -> Document:
        """See `AsyncConnection.read`."""
        return self._wait(self._own.read(index, hit))

    def generate(self, head: str, *parts: Any, **options: Any) -> Generated:
        """See `AsyncConnection.generate`."""
        return self._wait(self._own.generate(head, *parts, **options))

    def close(self) -> None:
        """See `AsyncConnection.close`."""
        if self._background.open:
            self._wait(self._own.close())
            self._background.close()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def connect(url: str, **options: Any) -> Connection:
    """A provider's service.

    Args:
      url: https://HOST:PORT.
      **options: of `Transport`: token, authority, certificate, private_key, pin,
        plain_http, timeout_seconds, patience_seconds.
    """
    return Connection(lambda: AsyncConnection(Transport(url, **options)))


def connect_async(url: str, **options: Any) -> AsyncConnection:
    """The same for coroutines; made inside of an event loop."""
    return AsyncConnection(Transport(url, **options))
