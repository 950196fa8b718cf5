"""A client of a provider's service, for coroutines: classify, fit, search, generate.

What crosses the network are the messages of `helix_jax.private`; keys and plaintext
stay in this process.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from helix_jax.alignment import AffineMap, Moments
from helix_jax.errors import ProtocolError
from helix_jax.generation.encrypted import HeadOffer, generate_encrypted
from helix_jax.generation.generate import Generated
from helix_jax.generation.stitch import Part
from helix_jax.net.service import PROTOCOL
from helix_jax.net.transport import Answer, ServiceError, Transport
from helix_jax.private import Client, FitClient, LabelClient, Layer, wire
from helix_jax.private.accountant import Privacy
from helix_jax.private.search import Document, Hit, Request, SearchClient
from helix_jax.private.search.client import Steps
from helix_jax.private.search.requests import split_answers
from helix_jax.progress import bar

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
        self._searchers: dict[str, SearchClient] = {}
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
            parts = _parts_of(answer, side.offer.width)
            await asyncio.to_thread(side.read, answer.body)
            part += 1
        moments = side.moments()
        with contextlib.suppress(ServiceError):  # it ends by itself, later
            await self.transport.ask("DELETE", path)
        return RemoteFit(moments, side.noise, side.expand)

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
        side = await self._searcher(index)
        return await self._drive(index, lambda: side.search(x, k))

    async def read(self, index: str, hit: Hit) -> Document:
        """The id and text of a hit; which it was is not shown."""
        side = await self._searcher(index)
        return await self._drive(index, lambda: side.read(hit))

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

    async def _drive(self, index: str, begin: Callable[[], Steps]) -> Any:
        """What a search returns; one whose answer was lost begins anew.

        It asks the same sets then, so that nothing more is told.
        """
        path = f"/v1/indexes/{index}/answers"
        for attempt in range(_ATTEMPTS):
            steps = begin()
            try:
                request = await asyncio.to_thread(next, steps)
                while True:
                    query = [("part", part) for part in request.parts]
                    answer = await self.transport.ask(
                        "POST", path, request.message, query=query
                    )
                    answers = split_answers(answer.body, len(request.parts))
                    request = await asyncio.to_thread(_sent, steps, answers)
                    if isinstance(request, _Found):
                        return request.value
            except ServiceError as error:
                if error.code != "answered" or attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError

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


def _parts_of(answer: Answer, most: int) -> int:
    """How many messages of results there are, as a provider says."""
    written = answer.headers.get("helix-parts", "")
    right = written.isascii() and written.isdigit() and len(written) < 10
    count = int(written) if right else 0
    if not 0 < count <= most:
        raise ProtocolError(
            f"fit: expected 1 to {most} messages of results, got {written!r:.30}."
        )
    return count


class _Found(NamedTuple):
    """What the steps of a search have returned."""

    value: Any


def _sent(steps: Steps, answers: list[bytes]) -> Request | _Found:
    """The next request, or what was found: no exception crosses a thread."""
    try:
        return steps.send(answers)
    except StopIteration as end:
        return _Found(end.value)
