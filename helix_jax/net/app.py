"""HTTP over a service: every request is known, bounded, answered and logged.

A request is read whole, within its size and time, before anything is done with it, and
answered whole: no worker waits for a network.
"""

import contextlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from helix_jax.net.bodies import announced, read_body
from helix_jax.net.doors import DOORS, Call, Door
from helix_jax.net.limits import Meter
from helix_jax.net.refusals import CODES, Refusal
from helix_jax.net.replies import Held, explain, refused, size_of
from helix_jax.net.served import Served

Identify = Callable[[Request], str | None]  # who asks; None: nobody who is known


def make_app(
    service: Served, identify: Identify, doors: tuple[Door[Any], ...] = DOORS
) -> Starlette:
    """The ASGI application; a server with ASGI's lifespan starts and ends the service.

    Args:
      service: that it shows.
      identify: the client of a request; None for an unknown one.
      doors: its routes, for a service of its kind.
    """

    routes = [
        Route(door.path, _endpoint(service, identify, door), methods=[door.method])
        for door in doors
    ]
    handlers = {404: _no_route, 405: _no_method}

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.close()

    return Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)


async def _no_route(request: Request, error: Exception) -> Response:
    return refused(Refusal("not_found"))


async def _no_method(request: Request, error: Exception) -> Response:
    return refused(Refusal("method"))


def _endpoint(
    service: Served, identify: Identify, door: Door[Any]
) -> Callable[[Request], Awaitable[Response | Held]]:
    async def endpoint(request: Request) -> Response | Held:
        began, identity, sizes = time.perf_counter(), "", [0, 0]
        detail = ""
        service.metrics.under_way.inc()
        try:
            response: Response | Held = await serve(request, sizes)
            identity = request.scope.get("helix_identity", "")
        except ClientDisconnect:
            response, detail = refused(Refusal("timeout")), "the client went away"
        except Exception as error:
            identity = request.scope.get("helix_identity", "")
            response, detail = explain(error, f"{door.method} {door.path}")
        finally:
            service.metrics.under_way.dec()
        sizes[1] = size_of(response)
        seconds = time.perf_counter() - began
        service.metrics.requests.labels(door.path, response.status_code).inc()
        service.metrics.seconds.labels(door.path).observe(seconds)
        service.metrics.bytes.labels("up").inc(sizes[0])
        service.metrics.bytes.labels("down").inc(sizes[1])
        # Unknown clients and requests over a quota do not push others out.
        if identity and response.status_code != CODES["quota"].status:
            service.audit.write(
                identity=identity,
                method=door.method,
                path=request.scope["path"][:200],  # whatever the Host header says
                peer=request.client.host if request.client else "",
                status=response.status_code,
                up=sizes[0],
                down=sizes[1],
                seconds=round(seconds, 4),
                **({"detail": detail[-300:]} if detail else {}),
            )
        return response

    async def serve(request: Request, sizes: list[int]) -> Response | Held:
        names = request.path_params
        if door.open:
            return await door.act(service, Call("", names, b"", request))
        if service.draining:
            raise Refusal("draining", after=5)
        identity = identify(request)
        if identity is None:
            raise Refusal("unauthorized")
        request.scope["helix_identity"] = identity
        if "helix_connection" in request.scope:
            request.scope["helix_connection"].is_known()
        with contextlib.ExitStack() as held:
            meters = service.meters
            meter = held.enter_context(meters.request(identity, upload=door.upload))
            if door.stream:
                call = Call(identity, names, b"", request)
                response = await door.act(service, call)
                sizes[0] = announced(request, sys.maxsize)
            else:
                response = await whole(request, identity, meter, sizes)
            meter.add(sizes[0] + size_of(response))
            # Its reader may be slow: it counts as long as it is in memory.
            held.enter_context(meters.memory(size_of(response), meter))
            return Held(response, held.pop_all())

    async def whole(
        request: Request, identity: str, meter: Meter, sizes: list[int]
    ) -> Response:
        most = service.settings.body_bytes if door.most is None else door.most
        size = announced(request, int(most))
        with service.meters.memory(2 * size, meter):
            try:
                body = await read_body(request, size, service.settings.body_seconds)
                sizes[0] = len(body)
                call = Call(identity, request.path_params, body, request)
                return await door.act(service, call)
            except BaseException:
                meter.add(size)  # it came, or could have
                raise

    return endpoint
