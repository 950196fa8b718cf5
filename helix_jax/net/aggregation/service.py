"""The aggregator as a web service: silos send their messages and wait for the others'.

    GET /v1                           what this is, JSON
    GET /v1/sessions/SESSION          the open round, who is waited for, JSON
    PUT /v1/sessions/SESSION/ROUND    the silo's message: 204; 409 for another one
    GET /v1/sessions/SESSION/ROUND    what the round came to for this silo
    GET /v1/sessions/SESSION/total    [2, L] uint64, for silos that are in it
    GET /health/live, /health/ready

SESSION is `Agreement.digest`, ROUND one of keys, shares, masked, confirm, reveal. What
is not there yet is waited for, ?wait=SECONDS, and then answered by 204. Which silo asks
is known by the name that its token has; what it says is believed for the signature in
it alone. Errors are {"error": CODE}, see refusals.py.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

import helix_jax
from helix_jax.errors import HelixError
from helix_jax.net.aggregation.desk import DEADLINES, Deadlines, Desk
from helix_jax.net.aggregation.refusals import STATUS, Refusal, refuse
from helix_jax.net.aggregation.rounds import Rounds
from helix_jax.net.aggregation.uploads import declared_size, receive_body
from helix_jax.private.aggregation.aggregator import ROUNDS

LOG = logging.getLogger(__name__)
PROTOCOL = 1
MAX_WAIT_SECONDS = 30.0
UPLOADS = 2  # of one silo at once: a broken one, and its repetition
_KINDS = {kind.name.lower(): kind for kind in ROUNDS}
_BINARY = "application/octet-stream"


def aggregation_app(
    sessions: Sequence[Rounds],
    identify: Callable[[Request], str | None],
    *,
    deadlines: Deadlines = DEADLINES,
    publish: bool = True,
) -> Starlette:
    """The application of an ASGI server, in one process.

    Args:
      sessions: that are open here.
      identify: the name of who asks, or None for a stranger.
      deadlines: of rounds.
      publish: whether silos whose rows are in a total may have it.

    Returns:
      The application; its `state.close_rounds` is a coroutine function that closes
      open rounds with those who have answered.
    """
    desks = {one.agreement.digest: Desk(one, deadlines) for one in sessions}
    service = _Service(desks, identify, publish)
    app = Starlette(
        routes=[
            Route("/v1", service.about),
            Route("/v1/sessions/{session}", service.describe),
            Route("/v1/sessions/{session}/total", service.total),
            Route("/v1/sessions/{session}/{round}", service.put, methods=["PUT"]),
            Route("/v1/sessions/{session}/{round}", service.get, methods=["GET"]),
            Route("/health/live", service.alive),
            Route("/health/ready", service.alive),
        ],
        exception_handlers={
            Refusal: _refused,
            HTTPException: _not_found,
            HelixError: _failed,
            Exception: _failed,
        },
        lifespan=service.lifespan,
    )
    app.state.close_rounds = service.close_rounds
    return app


class _Service:
    def __init__(self, desks, identify, publish):
        self._desks: dict[str, Desk] = desks
        self._identify = identify
        self._publish = publish
        self._uploads: dict[tuple[str, int], int] = {}

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Deadlines run while the service does."""
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(desk.run()) for desk in self._desks.values()]
            yield
            for task in running:
                task.cancel()

    async def close_rounds(self) -> None:
        """Close every open round that a silo has answered in, as if it were due."""
        for desk in self._desks.values():
            await desk.close_now()

    async def about(self, _: Request) -> Response:
        return JSONResponse(
            {
                "service": "helix_jax aggregation",
                "release": helix_jax.__version__,
                "protocol": PROTOCOL,
            }
        )

    async def alive(self, _: Request) -> Response:
        return JSONResponse({"ok": True})

    async def describe(self, request: Request) -> Response:
        desk, _ = await self._who(request)
        return JSONResponse(await asyncio.to_thread(desk.rounds.describe))

    async def put(self, request: Request) -> Response:
        desk, silo = await self._who(request)
        kind = _KINDS.get(request.path_params["round"]) or refuse("not_found")
        size = declared_size(request)
        file = await asyncio.to_thread(desk.rounds.expect, kind, silo, size)
        kept = False
        with self._one_more_upload(desk, silo):
            try:
                digest = await receive_body(request, file, size)
                kept = await desk.take(kind, silo, file, digest)
            except OSError as wrong:
                raise Refusal("busy", f"the disk: {wrong}") from wrong
            finally:
                if file and not kept:
                    file.unlink(missing_ok=True)
        return Response(status_code=204)

    async def get(self, request: Request) -> Response:
        desk, silo = await self._who(request)
        kind = _KINDS.get(request.path_params["round"]) or refuse("not_found")
        data = await desk.wait(lambda: desk.rounds.answer(kind, silo), _wait(request))
        if data is None:
            return Response(status_code=204)
        return Response(data, media_type=_BINARY)

    async def total(self, request: Request) -> Response:
        desk, silo = await self._who(request)
        path = await desk.wait(lambda: desk.rounds.total(silo), _wait(request))
        if path is None:
            return Response(status_code=204)
        if not self._publish:
            refuse("forbidden", "totals are not published")
        return FileResponse(path, media_type=_BINARY)

    async def _who(self, request: Request) -> tuple[Desk, int]:
        name = await asyncio.to_thread(self._identify, request)
        if name is None:
            refuse("unauthorized")
        desk = self._desks.get(request.path_params["session"])
        number = desk and desk.rounds.agreement.number_of(name)
        if not number:  # of a session that there is not, or of others
            refuse("not_found", f"{name} takes no part in this session")
        return desk, number

    @contextlib.contextmanager
    def _one_more_upload(self, desk: Desk, silo: int):
        place = desk.rounds.agreement.digest, silo
        if self._uploads.get(place, 0) >= UPLOADS:
            refuse("busy", f"{UPLOADS} messages of silo {silo} are coming in already")
        self._uploads[place] = self._uploads.get(place, 0) + 1
        try:
            yield
        finally:
            self._uploads[place] -= 1


def _wait(request: Request) -> float:
    text = request.query_params.get("wait", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 5):
        refuse("malformed", "wait is no whole number of seconds")
    return min(float(text), MAX_WAIT_SECONDS)


def _refused(request: Request, error: Refusal) -> Response:
    LOG.info("%s %s: %s", request.method, request.url.path, error)
    headers = {"Retry-After": "1"} if error.status == STATUS["busy"] else None
    body = {"error": error.code}
    return JSONResponse(body, status_code=error.status, headers=headers)


def _not_found(request: Request, error: HTTPException) -> Response:
    code = "not_found" if error.status_code == STATUS["not_found"] else "malformed"
    return JSONResponse({"error": code}, status_code=error.status_code)


def _failed(request: Request, error: Exception) -> Response:
    LOG.error("%s %s", request.method, request.url.path, exc_info=error)
    return JSONResponse({"error": "failed"}, status_code=STATUS["failed"])
