"""A client of a provider's service: classify, fit, search, generate.

    provider = connect("https://provider.example:8443", token=..., authority=...)
    logits = provider.classify("trec", x)

What crosses the network are the messages of `helix_jax.private`; keys and plaintext
stay in this process. `connect` is for scripts, `connect_async` for who has an event
loop.
"""

import asyncio
import json
import os
import threading
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from helix_jax.alignment import AffineMap, Moments
from helix_jax.errors import ProtocolError
from helix_jax.net.service import PROTOCOL
from helix_jax.net.transport import ServiceError, Transport
from helix_jax.private import Client, FitClient, LabelClient, Layer, wire
from helix_jax.private.accountant import Privacy
from helix_jax.progress import bar

Result = TypeVar("Result")
_ATTEMPTS = 5  # encryptions of one query whose answers were lost
_ROWS = 64  # of one message


class RemoteFit(NamedTuple):
    """A fit through a service.

    Attributes:
      moments: what every solver takes; of the projection where there was a rank.
      noise: [d_x, d_y] standard deviation of the provider's noise in cov_xy.
      expand: makes a map from the projection one from x itself.
    """

    moments: Moments
    noise: np.ndarray
    expand: Callable[[AffineMap], AffineMap]


class AsyncConnection:
    """A provider's service, asked by coroutines.

    Attributes:
      transport: of its requests.
    """

    def __init__(self, transport: Transport):
        self.transport = transport
        self._clients: dict[str, Client] = {}
        self._registered: set[bytes] = set()
        self._layers: dict[str, Layer] = {}
        self._labels: dict[str, LabelClient] = {}
        self._about: dict[str, Any] | None = None
        self._registering, self._labelling = asyncio.Lock(), asyncio.Lock()

    async def about(self) -> dict[str, Any]:
        """What the provider serves.

        Raises:
          ProtocolError: it speaks another protocol, or other messages.
        """
        if self._about is None:
            found = json.loads((await self.transport.ask("GET", "/v1")).body)
            spoken = found.get("protocol"), found.get("wire")
            if spoken != (PROTOCOL, wire.VERSION):
                raise ProtocolError(
                    f"{self.transport.url} speaks protocol {spoken[0]} with messages "
                    f"of version {spoken[1]}, here are {PROTOCOL} and {wire.VERSION}; "
                    "use releases of helix_jax that speak the same."
                )
            self._about = found
        return self._about

    async def account(self) -> dict[str, Any]:
        """What this client has had, and may have."""
        return json.loads((await self.transport.ask("GET", "/v1/account")).body)

    async def classify(self, head: str, x: np.ndarray) -> np.ndarray:
        """Ask a head of the provider, under encryption.

        Args:
          head: its name.
          x: [d] or [n, d] real, in the space of the provider's model.

        Returns:
          [k] or [n, k] float64 logits as the policy shows them; under "label" integers
          [] or [n].

        Raises:
          ServiceError: refused, or not reached.
        """
        x = np.asarray(x)
        rows = x[None] if x.ndim == 1 else x
        layer, client = await self._layer(head)
        if layer.policy.name == "label":
            found = [await self._label(head, layer, client, row) for row in rows]
        else:
            parts = [rows[i : i + _ROWS] for i in range(0, len(rows), _ROWS)]
            shown = bar(parts, "rows asked", unit="messages") if parts[1:] else parts
            found = [await self._ask(head, layer, client, part) for part in shown]
            found = [row for part in found for row in part]
        return np.stack(found) if x.ndim > 1 else found[0]

    async def fit(
        self,
        rows: str,
        x: np.ndarray,
        *,
        ids: Iterable[str] | None = None,
        rank: int | None = None,
        privacy: Privacy | None = None,
    ) -> RemoteFit:
        """Fit to rows of the provider, under encryption.

        A provider that ends and comes back, or a broken connection, costs the message
        that was on its way.

        Args:
          rows: their name.
          x: [n, d_x] float, the client's states of the same texts.
          ids: [n] names of the texts, in order.
          rank: project to so many principal directions first.
          privacy: see `FitClient`.

        Raises:
          ServiceError: refused, or not reached.
          ProtocolError: other texts, or messages that are none.
        """
        about = await self._served("rows", rows)
        # A key of its own: a map that is shown says nothing of other queries.
        client = Client(about["profile"])
        try:
            await self._register(client)
            return await self._fit(rows, client, x, ids, rank, privacy)
        finally:
            client.close()

    async def _fit(self, rows, client, x, ids, rank, privacy) -> RemoteFit:
        path = f"/v1/fits/{os.urandom(16).hex()}"
        asked = json.dumps({"rows": rows, "key": client.key.hex()}).encode()
        offer = (await self.transport.ask("PUT", path, asked)).body
        make = partial(FitClient, client, offer, x, ids=ids, rank=rank, privacy=privacy)
        side = await asyncio.to_thread(make)
        chunks = side.chunks()
        for number in bar(
            range(side.plan.chunks), "rows under encryption", unit="messages"
        ):
            message = await asyncio.to_thread(next, chunks)
            await self.transport.ask("PUT", f"{path}/rows/{number}", message)
        side.read_mean((await self.transport.ask("GET", f"{path}/mean")).body)
        part, parts = 0, 1
        while part < parts:
            answer = await self.transport.ask("GET", f"{path}/results/{part}")
            parts = int(answer.headers.get("helix-parts", "1"))
            await asyncio.to_thread(side.read, answer.body)
            part += 1
        moments = side.moments()
        await self.transport.ask("DELETE", path)
        return RemoteFit(moments, side.noise, side.expand)

    async def close(self) -> None:
        """Overwrite the keys and close the connections."""
        for client in self._clients.values():
            client.close()
        await self.transport.close()

    async def _served(self, kind: str, name: str) -> dict[str, Any]:
        served = (await self.about()).get(kind, {})
        if name not in served:
            raise ProtocolError(
                f"{self.transport.url} serves no {kind} {name!r}; there are "
                f"{', '.join(sorted(served)) or 'none'}."
            )
        return served[name]

    async def _client(self, profile: str) -> Client:
        async with self._registering:
            if profile not in self._clients:
                client = await asyncio.to_thread(Client, profile)
                await self._register(client)
                self._clients[profile] = client
            return self._clients[profile]

    async def _register(self, client: Client) -> None:
        bundle = await asyncio.to_thread(client.public_bundle)
        await self.transport.ask("PUT", f"/v1/keys/{client.key.hex()}", bundle)

    async def _layer(self, head: str) -> tuple[Layer, Client]:
        client = await self._client((await self._served("heads", head))["profile"])
        if head not in self._layers:
            offer = (await self.transport.ask("GET", f"/v1/heads/{head}")).body
            self._layers[head] = client.read_layer(offer)
        return self._layers[head], client

    async def _ask(
        self, head: str, layer: Layer, client: Client, x: np.ndarray
    ) -> np.ndarray:
        """Results [B, k] of rows [B, d]; a lost answer's query is encrypted anew."""
        for attempt in range(_ATTEMPTS):
            query = client.encrypt(layer, x)
            try:
                path = f"/v1/heads/{head}/answers"
                answer = (await self.transport.ask("POST", path, query)).body
                return client.decrypt(answer)
            except ServiceError as error:
                if error.code != "answered" or attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError

    async def _label(
        self, head: str, layer: Layer, client: Client, row: np.ndarray
    ) -> np.ndarray:
        """The label of one row; a conversation that was lost begins anew."""
        path = f"/v1/heads/{head}"
        async with self._labelling:
            for attempt in range(_ATTEMPTS):
                try:
                    side = self._labels.get(head)
                    if side is None:
                        side = LabelClient(client, layer)
                        agreed = side.agree()
                        elements = await self.transport.ask(
                            "POST", f"{path}/transfers", agreed
                        )
                        side.read_elements(elements.body)
                        self._labels[head] = side
                    query = client.encrypt(layer, row)
                    answer = await self.transport.ask("POST", f"{path}/answers", query)
                    choices = side.choose(answer.body)
                    garbled = await self.transport.ask(
                        "POST", f"{path}/labels", choices
                    )
                    return side.read(garbled.body)
                except ServiceError as error:
                    self._labels.pop(head, None)
                    lost = error.code in ("answered", "malformed", "conflict")
                    if not lost or attempt == _ATTEMPTS - 1:
                        raise
        raise AssertionError


class Connection:
    """The same for scripts: each call returns when it is done."""

    def __init__(self, make: Callable[[], AsyncConnection]):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._own = self._wait(_made(make))

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

    def close(self) -> None:
        """See `AsyncConnection.close`."""
        if self._thread.is_alive():
            self._wait(self._own.close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait(self, work: Coroutine[Any, Any, Result]) -> Result:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise


async def _made(make: Callable[[], AsyncConnection]) -> AsyncConnection:
    return make()


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
