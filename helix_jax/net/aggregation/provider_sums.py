"""Several providers as one: their answers to a query are added, and opened by no one.

    client -- query --> this service -- the same query --> each provider
    client <-- sum ---- this service <-- its answer ------ each provider

To a client it is a provider: it has the same routes, and `helix_jax.net.connect` asks
it. To the providers it is their one client, by a token of its own: they answer it and
nobody else, for an answer that reaches the client is open to it. The client's key is
the client's; this service forwards its public half and cannot open anything. So neither
sees a single provider's result as long as the two do not work together
(`private/summing.py`).
"""

import asyncio
import json
from collections.abc import Awaitable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from helix_jax.errors import RunError
from helix_jax.net.aggregation.service_base import ServiceBase
from helix_jax.net.aggregation.sum_settings import SummandSettings, SumSettings
from helix_jax.net.aggregation.summed_layer import summed_layer
from helix_jax.net.capabilities import provider_fields, require_spoken
from helix_jax.net.doors import HEAD_DOORS, Door
from helix_jax.net.message_names import key_of, profile_of, sixteen_bytes
from helix_jax.net.recent import RecentAnswers
from helix_jax.net.refusals import Refusal
from helix_jax.net.transport import ServiceError, Transport
from helix_jax.private import Layer, sum_answers
from helix_jax.private.profiles import find_profile
from helix_jax.secret_files import read_secret

DOORS_OF_SUMS: tuple[Door["SumService"], ...] = HEAD_DOORS
PATIENCE_SECONDS = 10.0  # with a provider that is away
_TOLD = ("budget", "answered", "malformed", "quota", "busy", "draining")


class Summand(NamedTuple):
    """A provider that is asked.

    Attributes:
      name: in the settings.
      head: that it serves.
      transport: to its service.
    """

    name: str
    head: str
    transport: Transport


class Sum(NamedTuple):
    """A head of this service.

    Attributes:
      summands: whose answers are added.
      layer: of the sum.
      about: JSON-able, for clients.
    """

    summands: tuple[Summand, ...]
    layer: Layer
    about: dict[str, Any]


class SumService(ServiceBase):
    """Asks several providers what it is asked.

    Args:
      settings: where it listens, and the providers.
    """

    def __init__(self, settings: SumSettings):
        super().__init__(settings.service)
        self._named, self._sums = settings.sums, dict[str, Sum]()
        self._recent = RecentAnswers(self.metrics.repeated.inc)

    async def start(self) -> None:
        """Ask every provider for its layer.

        Raises:
          RunError: one is not reached, or their layers cannot be added.
        """
        for name, providers in self._named.items():
            summands = tuple(_summand(*item) for item in providers.items())
            try:
                offers = [await _offer_of(one) for one in summands]
            except ServiceError as error:
                raise RunError(f"sums.{name}: {error}") from error
            names = [one.name for one in summands]
            layer = summed_layer(
                {one: layer for one, (layer, _) in zip(names, offers)},
                {one: about["shared"] for one, (_, about) in zip(names, offers)},
            )
            about = {
                key: offers[0][1][key]
                for key in ("profile", "policy", "width", "results", "input_norm")
            }
            about |= {"kind": "sum", "providers": len(summands)}
            self._sums[name] = Sum(summands, layer, about)

    async def close(self) -> None:
        """Leave the state whole."""
        for one in self._sums.values():
            for summand in one.summands:
                await summand.transport.close()
        await super().close()

    def capabilities(self) -> dict[str, Any]:
        """What a client must know before it asks; JSON-able."""
        return {
            **provider_fields(self.settings),
            "heads": {name: one.about for name, one in self._sums.items()},
            "rows": {},
        }

    async def account(self, identity: str) -> dict[str, Any]:
        """What a client has had; bits are counted by the providers; JSON-able."""
        meter = self.meters.of(identity)
        return {"identity": identity, "bytes_today": meter.used_bytes}

    async def put_key(self, identity: str, name: str, bundle: bytes) -> None:
        """Register a client's key with every provider, whose checks are the proof's."""
        key, profile = sixteen_bytes(name), profile_of(bundle)
        known = self.state.key(key)
        if known is not None and known.identity != identity:
            raise Refusal("forbidden", f"key {name} is {known.identity}'s")
        everybody = {
            s.transport: s for one in self._sums.values() for s in one.summands
        }
        await self._all(
            summand.transport.ask("PUT", f"/v1/keys/{name}", bundle)
            for summand in everybody.values()
        )
        most = self.settings.limits_of(identity).keys
        self.state.add_key(key, identity, profile, bundle, most=most)

    async def offer(self, identity: str, head: str) -> bytes:
        """The layer of a sum."""
        return self._sum(head).layer.to_bytes()

    async def ask(self, identity: str, head: str, what: str, message: bytes) -> bytes:
        """The sum of all providers' answers; the same to the same message again."""
        one, key = self._sum(head), key_of(message)
        known = self.state.key(key)
        if known is None or known.identity != identity:  # another's looks like none
            raise Refusal("not_found", f"key {key.hex()} of {identity}: {known}")

        async def make() -> bytes:
            answers = await self._all(
                _answer(summand, key, known.bundle, message) for summand in one.summands
            )
            return await asyncio.to_thread(sum_answers, answers, one.layer)

        name = RecentAnswers.name(identity, f"{what} {head}", message)
        return await self._recent.once(name, make)

    def _sum(self, name: str) -> Sum:
        if name not in self._sums:
            raise Refusal("not_found", f"{name!r} is not served")
        return self._sums[name]

    async def _all(self, requests: Iterable[Awaitable[Any]]) -> list[Any]:
        """What every provider says, or what the first that refused did."""
        found = await asyncio.gather(*requests, return_exceptions=True)
        wrong = []
        for one in found:
            if isinstance(one, ServiceError):
                wrong.append(one)
            elif isinstance(one, BaseException):
                raise one
        if wrong:
            code = next((one.code for one in wrong if one.code in _TOLD), "lost")
            raise Refusal(code, "; ".join(map(str, wrong)))
        return found


def _summand(name: str, settings: SummandSettings) -> Summand:
    token = None
    if settings.token_file:
        secret = read_secret(Path(settings.token_file), "a token", raises=RunError)
        token = secret.decode("ascii", "replace").strip()
    transport = Transport(
        settings.url,
        token=token,
        authority=settings.authority or None,
        pin=settings.pin or None,
        plain_http=settings.plain_http,
        patience_seconds=PATIENCE_SECONDS,
    )
    return Summand(name, settings.head, transport)


async def _offer_of(summand: Summand) -> tuple[Layer, dict[str, Any]]:
    """A provider's layer, and what it says of the head."""
    about = json.loads((await summand.transport.ask("GET", "/v1")).body)
    require_spoken(summand.transport.url, about, raises=RunError)
    head = about.get("heads", {}).get(summand.head)
    if head is None:
        raise RunError(f"{summand.transport.url} serves no head {summand.head!r}.")
    offer = (await summand.transport.ask("GET", f"/v1/heads/{summand.head}")).body
    return Layer.from_bytes(offer, find_profile(head["profile"])), head


async def _answer(summand: Summand, key: bytes, bundle: bytes, message: bytes) -> bytes:
    """A provider's answer; one that does not know the key is sent it again."""
    path = f"/v1/heads/{summand.head}/answers"
    try:
        return (await summand.transport.ask("POST", path, message)).body
    except ServiceError as error:
        if error.code != "not_found":
            raise
    await summand.transport.ask("PUT", f"/v1/keys/{key.hex()}", bundle)
    return (await summand.transport.ask("POST", path, message)).body
