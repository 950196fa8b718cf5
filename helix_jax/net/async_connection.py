"""A client of a provider's service, for coroutines: classify, fit, search, generate.

What crosses the network are the messages of `helix_jax.private`; keys and plaintext
stay in this process.
"""

import asyncio
import json
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from helix_jax.errors import ProtocolError
from helix_jax.generation.encrypted import HeadOffer, generate_encrypted
from helix_jax.generation.generate import Generated
from helix_jax.generation.stitch import Part
from helix_jax.net.capabilities import require_spoken
from helix_jax.net.lost_answers import until_answered
from helix_jax.net.remote_fit import RemoteFit, fit_remotely
from helix_jax.net.remote_labels import RemoteLabels
from helix_jax.net.search_steps import take_steps
from helix_jax.net.transport import Transport
from helix_jax.private import Client, Layer
from helix_jax.private.accountant import Privacy
from helix_jax.private.search import Document, Hit, SearchClient
from helix_jax.private.search.client import Steps
from helix_jax.progress import bar

_ROWS = 64  # of one message


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
        self._labels = RemoteLabels(transport)
        self._searchers: dict[str, SearchClient] = {}
        self._about: dict[str, Any] | None = None
        self._registering = asyncio.Lock()

    async def about(self) -> dict[str, Any]:
        """What the provider serves.

        Raises:
          ProtocolError: it speaks another protocol, or other messages.
        """
        if self._about is None:
            found = json.loads((await self.transport.ask("GET", "/v1")).body)
            require_spoken(self.transport.url, found)
            self._about = found
        return self._about

    async def account(self) -> dict[str, Any]:
        """What this client has used, and may use."""
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
            found = [await self._labels.ask(head, layer, client, row) for row in rows]
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

        A provider that restarts, or a broken connection, costs only the message that
        was on its way.

        Args:
          rows: their name.
          x: [n, d_x] float, the client's states of the same texts.
          ids: [n] names of the texts, in order.
          rank: project to so many principal directions first.
          privacy: see `FitClient`.

        Raises:
          ServiceError: refused, or not reached.
          ProtocolError: other texts, or malformed messages.
        """
        about = await self._served("rows", rows)
        # A key of its own: a map that is shown says nothing of other queries.
        client = Client(about["profile"])
        try:
            await self._register(client)
            options = {"ids": ids, "rank": rank, "privacy": privacy}
            return await fit_remotely(self.transport, rows, client, x, **options)
        finally:
            client.close()

    async def search(self, index: str, x: np.ndarray, *, k: int = 10) -> list[Hit]:
        """Find the rows of an index nearest to a query, under encryption.

        Args:
          index: its name.
          x: [d] real, not zero, in the space of the provider's model.
          k: how many.

        Returns:
          The best first; `read` gives a hit's text.

        Raises:
          ServiceError: refused, or not reached.
        """
        return await self._search(index, lambda side: side.search(x, k))

    async def read(self, index: str, hit: Hit) -> Document:
        """The id and text of a hit; the provider does not see which."""
        return await self._search(index, lambda side: side.read(hit))

    async def generate(
        self,
        head: str,
        source: Part,
        map: Any,
        tokenizers: tuple[Any, Any],
        prompt: str,
        **options: Any,
    ) -> Generated:
        """Continue a prompt by the provider's output head, asked under encryption.

        Args:
          head: its name, of an output head.
          source: the part of a stitch that reads the text.
          map: to the target's normed last states.
          tokenizers: of the source and of the target.
          prompt: a text.
          **options: of `generate_encrypted`.

        Raises:
          ServiceError: refused, or not reached.
        """
        about = await self._served("heads", head)
        if "vocabulary" not in about:
            raise ProtocolError(
                f"generate: {head!r} is a {about['kind']}, not an output head."
            )
        layer, client = await self._layer(head)
        offer = HeadOffer(about["vocabulary"], about["softcap"])
        loop = asyncio.get_running_loop()

        def ask(state: np.ndarray) -> np.ndarray:
            asked = self._ask(head, layer, client, state[None])
            return asyncio.run_coroutine_threadsafe(asked, loop).result()[0]

        write = partial(generate_encrypted, source, map, offer, ask, *tokenizers)
        return await asyncio.to_thread(write, prompt, **options)

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

    async def _searcher(self, index: str) -> SearchClient:
        client = await self._client((await self._served("indexes", index))["profile"])
        if index not in self._searchers:
            answer = await self.transport.ask("GET", f"/v1/indexes/{index}")
            self._searchers[index] = SearchClient(client, json.loads(answer.body))
        return self._searchers[index]

    async def _search(self, index: str, begin: Callable[[SearchClient], Steps]) -> Any:
        """What a search returns; one whose answer was lost starts again."""
        side = await self._searcher(index)
        return await until_answered(
            lambda: take_steps(self.transport, index, begin(side))
        )

    async def _ask(
        self, head: str, layer: Layer, client: Client, x: np.ndarray
    ) -> np.ndarray:
        """Results [B, k] of rows [B, d]."""

        async def attempt() -> np.ndarray:
            query, path = client.encrypt(layer, x), f"/v1/heads/{head}/answers"
            return client.decrypt((await self.transport.ask("POST", path, query)).body)

        return await until_answered(attempt)
