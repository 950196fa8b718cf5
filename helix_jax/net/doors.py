"""The routes of a provider: which request does what; see docs/protocol.md."""

from collections.abc import Awaitable, Callable
from typing import Generic, NamedTuple, TypeVar

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from helix_jax.net.bodies import read_json, read_number
from helix_jax.net.refusals import Refusal
from helix_jax.net.replies import message
from helix_jax.net.served import Answering, Served
from helix_jax.net.service import Service

_KEY_BYTES = 1_000_000
_SMALL = 4096

Of = TypeVar("Of", contravariant=True)  # what kind of service


class Call(NamedTuple):
    """One request, when its client is known and its body read.

    Attributes:
      identity: of the client; empty at a door that is open.
      names: those in braces in the path.
      body: empty at a door that reads it itself.
      request: of Starlette.
    """

    identity: str
    names: dict[str, str]
    body: bytes
    request: Request


Act = Callable[[Of, Call], Awaitable[Response]]


class Door(NamedTuple, Generic[Of]):
    """One route.

    Attributes:
      method, path: of HTTP.
      act: does it.
      most: bytes of its body; 0: none, None: as the settings say.
      upload: counts among a client's uploads.
      open: needs no identity.
      stream: `act` reads the body, which is larger than memory may be.
    """

    method: str
    path: str
    act: Act[Of]
    most: int | None = 0
    upload: bool = False
    open: bool = False
    stream: bool = False


async def _live(service: Served, call: Call) -> Response:
    return JSONResponse({"live": True})


async def _ready(service: Served, call: Call) -> Response:
    if service.draining:
        raise Refusal("draining", after=5)
    if not service.pool.ready:
        raise Refusal("busy", "no worker serves yet", after=1)
    return JSONResponse({"ready": True})


async def _metrics(service: Served, call: Call) -> Response:
    peer = call.request.client.host if call.request.client else ""
    if peer not in ("127.0.0.1", "::1"):
        raise Refusal("forbidden", f"metrics asked for by {peer}")
    metrics = service.metrics
    metrics.restarts.set(sum(place.restarts for place in service.pool.places))
    metrics.waiting.set(sum(place.waiting for place in service.pool.places))
    metrics.memory.set(service.meters.held)
    return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)


async def _capabilities(service: Served, call: Call) -> Response:
    return JSONResponse(service.capabilities())


async def _account(service: Served, call: Call) -> Response:
    return JSONResponse(await service.account(call.identity))


async def _put_key(service: Answering, call: Call) -> Response:
    await service.put_key(call.identity, call.names["key"], call.body)
    return Response(status_code=204)


async def _offer(service: Answering, call: Call) -> Response:
    return message(await service.offer(call.identity, call.names["head"]))


async def _ask(service: Answering, call: Call) -> Response:
    what = call.request.scope["path"].rsplit("/", 1)[1]
    return message(
        await service.ask(call.identity, call.names["head"], what, call.body)
    )


async def _index(service: Service, call: Call) -> Response:
    return JSONResponse(await service.index(call.names["index"]))


async def _search(service: Service, call: Call) -> Response:
    parts = call.request.query_params.getlist("part")
    return message(
        await service.search(call.identity, call.names["index"], parts, call.body)
    )


async def _begin_fit(service: Service, call: Call) -> Response:
    asked = read_json(call.body, ("rows", "key"))
    return message(
        await service.begin_fit(
            call.identity, call.names["fit"], asked["rows"], asked["key"]
        )
    )


async def _fit_state(service: Service, call: Call) -> Response:
    return JSONResponse(await service.fit_state(call.identity, call.names["fit"]))


async def _end_fit(service: Service, call: Call) -> Response:
    await service.end_fit(call.identity, call.names["fit"])
    return Response(status_code=204)


async def _put_rows(service: Service, call: Call) -> Response:
    chunk = read_number(call.names["chunk"])
    after = await service.put_rows(call.identity, call.names["fit"], chunk, call.body)
    return Response(status_code=204, headers={"helix-next": str(after)})


async def _mean(service: Service, call: Call) -> Response:
    return message(await service.mean(call.identity, call.names["fit"]))


async def _results(service: Service, call: Call) -> Response:
    part = read_number(call.names["part"])
    count, found = await service.results(call.identity, call.names["fit"], part)
    return message(found, {"helix-parts": str(count)})


# Of every service; of one whose heads answer; and all of a provider.
COMMON_DOORS: tuple[Door[Served], ...] = (
    Door("GET", "/health/live", _live, open=True),
    Door("GET", "/health/ready", _ready, open=True),
    Door("GET", "/metrics", _metrics, open=True),
    Door("GET", "/v1", _capabilities, open=True),
    Door("GET", "/v1/account", _account),
)
HEAD_DOORS: tuple[Door[Answering], ...] = (
    *COMMON_DOORS,
    Door("PUT", "/v1/keys/{key}", _put_key, most=_KEY_BYTES),
    Door("GET", "/v1/heads/{head}", _offer),
    Door("POST", "/v1/heads/{head}/answers", _ask, most=None),
)
DOORS: tuple[Door[Service], ...] = (
    *HEAD_DOORS,
    Door("POST", "/v1/heads/{head}/transfers", _ask, most=None),
    Door("POST", "/v1/heads/{head}/labels", _ask, most=None),
    Door("GET", "/v1/indexes/{index}", _index),
    Door("POST", "/v1/indexes/{index}/answers", _search, most=None),
    Door("PUT", "/v1/fits/{fit}", _begin_fit, most=_SMALL),
    Door("GET", "/v1/fits/{fit}", _fit_state),
    Door("DELETE", "/v1/fits/{fit}", _end_fit),
    Door("PUT", "/v1/fits/{fit}/rows/{chunk}", _put_rows, most=None, upload=True),
    Door("GET", "/v1/fits/{fit}/mean", _mean),
    Door("GET", "/v1/fits/{fit}/results/{part}", _results),
)
