"""HTTP over a service: routes, bodies, refusals; see docs/protocol.md.

A request is read whole, within its size and time, before anything is done with it, and
answered whole: no worker waits for a network.
"""

import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from helix_jax.net.refusals import CODES, Refusal, code_of
from helix_jax.net.service import Service

LOG = logging.getLogger(__name__)
_KEY_BYTES = 1_000_000
_SMALL = 4096
_BINARY = "application/octet-stream"

Act = Callable[[Service, str, dict[str, str], bytes, Request], Awaitable[Response]]


class Door(NamedTuple):
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
    act: Act
    most: int | None = 0
    upload: bool = False
    open: bool = False
    stream: bool = False


async def _live(service, identity, names, body, request):
    return JSONResponse({"live": True})


async def _ready(service, identity, names, body, request):
    if service.draining:
        raise Refusal("draining", after=5)
    if not service.pool.ready:
        raise Refusal("busy", "no worker serves yet", after=1)
    return JSONResponse({"ready": True})


async def _metrics(service, identity, names, body, request):
    from prometheus_client import CONTENT_TYPE_LATEST

    peer = request.client.host if request.client else ""
    if peer not in ("127.0.0.1", "::1"):
        raise Refusal("forbidden", f"metrics asked for by {peer}")
    metrics = service.metrics
    metrics.restarts.set(sum(place.restarts for place in service.pool.places))
    metrics.waiting.set(sum(place.waiting for place in service.pool.places))
    metrics.memory.set(service.meters.held)
    return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)


async def _capabilities(service, identity, names, body, request):
    return JSONResponse(service.capabilities())


async def _account(service, identity, names, body, request):
    return JSONResponse(await service.account(identity))


async def _put_key(service, identity, names, body, request):
    await service.put_key(identity, names["key"], body)
    return Response(status_code=204)


async def _offer(service, identity, names, body, request):
    return _message(await service.offer(identity, names["head"]))


async def _ask(service, identity, names, body, request):
    what = request.scope["path"].rsplit("/", 1)[1]
    return _message(await service.ask(identity, names["head"], what, body))


async def _index(service, identity, names, body, request):
    return JSONResponse(await service.index(names["index"]))


async def _search(service, identity, names, body, request):
    parts = request.query_params.getlist("part")
    return _message(await service.search(identity, names["index"], parts, body))


async def _begin_fit(service, identity, names, body, request):
    asked = _json(body, ("rows", "key"))
    return _message(
        await service.begin_fit(identity, names["fit"], asked["rows"], asked["key"])
    )


async def _fit_state(service, identity, names, body, request):
    return JSONResponse(await service.fit_state(identity, names["fit"]))


async def _end_fit(service, identity, names, body, request):
    await service.end_fit(identity, names["fit"])
    return Response(status_code=204)


async def _put_rows(service, identity, names, body, request):
    chunk = _number(names["chunk"])
    after = await service.put_rows(identity, names["fit"], chunk, body)
    return Response(status_code=204, headers={"helix-next": str(after)})


async def _mean(service, identity, names, body, request):
    return _message(await service.mean(identity, names["fit"]))


async def _results(service, identity, names, body, request):
    part = _number(names["part"])
    count, message = await service.results(identity, names["fit"], part)
    return _message(message, {"helix-parts": str(count)})


DOORS = (
    Door("GET", "/health/live", _live, open=True),
    Door("GET", "/health/ready", _ready, open=True),
    Door("GET", "/metrics", _metrics, open=True),
    Door("GET", "/v1", _capabilities, open=True),
    Door("GET", "/v1/account", _account),
    Door("PUT", "/v1/keys/{key}", _put_key, most=_KEY_BYTES),
    Door("GET", "/v1/heads/{head}", _offer),
    Door("POST", "/v1/heads/{head}/answers", _ask, most=None),
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


def make_app(
    service: Service,
    identify: Callable[[Request], str | None],
    doors: tuple[Door, ...] = DOORS,
) -> Starlette:
    """The ASGI application.

    Args:
      service: that it shows.
      identify: who asks; None for nobody known.
      doors: its routes.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette):
        await service.start()
        yield
        await service.close()

    routes = [
        Route(door.path, _endpoint(service, identify, door), methods=[door.method])
        for door in doors
    ]
    return Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={404: _no_route, 405: _no_method},
    )


async def _no_route(request: Request, error: Exception) -> Response:
    return _refused(Refusal("not_found"))


async def _no_method(request: Request, error: Exception) -> Response:
    return _refused(Refusal("method"))


def _endpoint(service: Service, identify, door: Door):
    async def endpoint(request: Request) -> Response:
        began, identity, sizes = time.perf_counter(), "", [0, 0]
        detail = ""
        service.metrics.under_way.inc()
        try:
            response = await serve(request, sizes)
            identity = request.scope.get("helix_identity", "")
        except ClientDisconnect:
            response, detail = _refused(Refusal("timeout")), "the client went away"
        except Exception as error:
            identity = request.scope.get("helix_identity", "")
            response, detail = _explain(error, door)
        finally:
            service.metrics.under_way.dec()
        sizes[1] = _size(response)
        seconds = time.perf_counter() - began
        service.metrics.requests.labels(door.path, response.status_code).inc()
        service.metrics.seconds.labels(door.path).observe(seconds)
        service.metrics.bytes.labels("up").inc(sizes[0])
        service.metrics.bytes.labels("down").inc(sizes[1])
        if not door.open or detail:
            service.audit.write(
                identity=identity,
                method=door.method,
                path=request.scope["path"][:200],  # whatever the Host was
                peer=request.client.host if request.client else "",
                status=response.status_code,
                up=sizes[0],
                down=sizes[1],
                seconds=round(seconds, 4),
                **({"detail": detail[-300:]} if detail else {}),
            )
        return response

    async def serve(request: Request, sizes: list[int]) -> Response:
        names = request.path_params
        if door.open:
            return await door.act(service, "", names, b"", request)
        if service.draining:
            raise Refusal("draining", after=5)
        identity = identify(request)
        if identity is None:
            raise Refusal("unauthorized")
        request.scope["helix_identity"] = identity
        with service.meters.request(identity, upload=door.upload) as meter:
            if door.stream:
                response = await door.act(service, identity, names, b"", request)
                sizes[0] = announced(request, sys.maxsize)
                meter.add(sizes[0] + _size(response))
                return response
            most = service.settings.body_bytes if door.most is None else door.most
            size = announced(request, int(most))
            with service.meters.memory(2 * size, meter):
                seconds = service.settings.body_seconds
                body = await _read_body(request, size, seconds)
                sizes[0] = len(body)
                response = await door.act(service, identity, names, body, request)
            meter.add(sizes[0] + _size(response))
            return response

    return endpoint


def announced(request: Request, most: int) -> int:
    """The length of a body, from its header.

    Raises:
      Refusal: it is not said, or larger than `most`.
    """
    written = request.headers.get("content-length")
    if written is None:
        if "transfer-encoding" in request.headers:
            raise Refusal("length_required")
        return 0
    if not written.isascii() or not written.isdigit() or len(written) > 15:
        raise Refusal("malformed", "content-length")
    if int(written) > most:
        raise Refusal("too_large", f"{written} bytes, at most {most}")
    return int(written)


def _size(response: Response) -> int:
    return int(response.headers.get("content-length", 0))


async def _read_body(request: Request, size: int, seconds: float) -> bytes:
    """Exactly the bytes that were announced, in time."""
    if size == 0:
        return b""
    body, got = bytearray(size), 0
    try:
        async with asyncio.timeout(seconds):
            async for piece in request.stream():
                if got + len(piece) > size:
                    raise Refusal("too_large", "more than was announced")
                body[got : got + len(piece)] = piece
                got += len(piece)
    except TimeoutError:
        raise Refusal("timeout", f"{got} of {size} bytes came") from None
    if got != size:
        raise Refusal("malformed", f"{got} of {size} bytes came")
    return bytes(body)


def _explain(error: Exception, door: Door) -> tuple[Response, str]:
    """The response to an error, and what goes to the log."""
    if isinstance(error, Refusal):
        return _refused(error), error.detail
    if code_of(error) == "failed":
        LOG.exception("%s %s failed", door.method, door.path)
    return _refused(Refusal(code_of(error))), repr(error)


def _refused(refusal: Refusal) -> Response:
    code = CODES[refusal.code]
    headers = {"connection": "close"} if refusal.code == "timeout" else {}
    if refusal.after is not None or code.again:
        after = 1 if refusal.after is None else refusal.after
        headers["retry-after"] = str(max(1, round(after)))
    if refusal.code == "unauthorized":
        headers["www-authenticate"] = "Bearer"
    content = {"error": refusal.code, "message": code.message}
    return JSONResponse(content, status_code=code.status, headers=headers)


def _message(body: bytes, headers: dict[str, str] | None = None) -> Response:
    return Response(body, media_type=_BINARY, headers=headers)


def _json(body: bytes, names: tuple[str, ...]) -> dict[str, Any]:
    """An object of texts with exactly these names."""
    import json

    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal("malformed", "no JSON") from None
    if not isinstance(found, dict) or set(found) != set(names):
        raise Refusal("malformed", f"expected an object of {names}")
    if not all(isinstance(value, str) for value in found.values()):
        raise Refusal("malformed", f"expected texts for {names}")
    return found


def _number(written: str) -> int:
    if not (written.isascii() and written.isdigit() and len(written) < 10):
        raise Refusal("malformed", "expected a number")
    return int(written)
