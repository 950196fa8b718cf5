"""The aggregator as a web service: silos send their messages and wait for the others'.

    GET /v1/sessions/SESSION          the open round, silos not heard yet, JSON
    PUT /v1/sessions/SESSION/ROUND    the silo's message: 204; 409 for another one
    GET /v1/sessions/SESSION/ROUND    what the round came to for this silo
    GET /v1/sessions/SESSION/total    [2, L] uint64, for silos that are in it

and what every service has (`doors.COMMON_DOORS`). SESSION is `Agreement.digest`, ROUND
one of keys, shares, masked, confirm, reveal. A request for what is not there yet waits
for it, ?wait=SECONDS, and is then answered by 204. Which silo asks is known by the name
of its token or certificate; what it says is believed for its signature alone.
"""

import asyncio
import logging
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from helix_jax.net.aggregation.agreement import Agreement
from helix_jax.net.aggregation.desk import DEADLINES, Deadlines, Desk
from helix_jax.net.aggregation.rounds import Rounds
from helix_jax.net.aggregation.service_base import ServiceBase
from helix_jax.net.aggregation.uploads import receive_body
from helix_jax.net.bodies import announced
from helix_jax.net.capabilities import service_fields
from helix_jax.net.doors import COMMON_DOORS, Call, Door
from helix_jax.net.refusals import Refusal
from helix_jax.net.settings import ServiceSettings
from helix_jax.private.aggregation.aggregator import ROUNDS
from helix_jax.private.aggregation.messages import Kind

LOG = logging.getLogger(__name__)
PROTOCOL = 1
MAX_WAIT_SECONDS = 30
_KINDS = {kind.name.lower(): kind for kind in ROUNDS}
_BINARY = "application/octet-stream"


class AggregationService(ServiceBase):
    """Sessions that silos send their messages to.

    Args:
      settings: of where it listens, its state and limits.
      agreements: of the sessions.
      signing_key: of the aggregator's identity, in all of them.
      deadlines: of rounds.
      publish: whether silos whose rows are in a total may have it.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        agreements: Sequence[Agreement],
        signing_key: bytes,
        *,
        deadlines: Deadlines = DEADLINES,
        publish: bool = True,
    ):
        super().__init__(settings)
        self.publish = publish
        self._agreements, self._signing_key = agreements, signing_key
        self._deadlines = deadlines
        self._desks: dict[str, Desk] = {}
        self._running: list[asyncio.Task] = []

    async def start(self) -> None:
        """Open the sessions, which resume where they were; SIGUSR1 closes rounds.

        Raises:
          KeyRoleError: the key is not that of a session's aggregator.
          ProtocolError: what was kept is damaged.
        """
        sums = Path(self.settings.state) / "sums"
        for one in self._agreements:
            rounds = await asyncio.to_thread(
                Rounds, one, self._signing_key, sums / one.digest
            )
            desk = self._desks[one.digest] = Desk(rounds, self._deadlines)
            self._running.append(asyncio.create_task(desk.run()))
        if threading.current_thread() is threading.main_thread():
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(
                signal.SIGUSR1,
                lambda: self._running.append(asyncio.create_task(self.close_rounds())),
            )

    async def close(self) -> None:
        """Stop waiting for silos; what they sent stays."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await super().close()

    async def close_rounds(self) -> None:
        """Close every open round that a silo has answered in, as if it were due."""
        for desk in self._desks.values():
            await desk.close_now()

    def capabilities(self) -> dict[str, Any]:
        """What this is; JSON-able."""
        known = {"service": "helix_jax aggregation", "protocol": PROTOCOL}
        return {**known, **service_fields(self.settings)}

    async def account(self, identity: str) -> dict[str, Any]:
        """The sessions that a silo takes part in; JSON-able."""
        own = [one.digest for one in self._agreements if one.number_of(identity)]
        return {"identity": identity, "sessions": own}

    def find(self, session: str, identity: str) -> tuple[Desk, int]:
        """A session's desk, and the number of the silo that asks."""
        desk = self._desks.get(session)
        number = desk.rounds.agreement.number_of(identity) if desk else None
        if desk is None or number is None:  # others' sessions look like none
            raise Refusal("not_found", f"{identity} takes no part in {session:.64}")
        return desk, number

    def is_ending(self) -> bool:
        """Whether a waiting client is to ask again later."""
        return self.draining


async def _describe(service: AggregationService, call: Call) -> Response:
    desk, _ = service.find(call.names["session"], call.identity)
    return JSONResponse(await desk.in_thread(desk.rounds.describe))


async def _put(service: AggregationService, call: Call) -> Response:
    desk, silo = service.find(call.names["session"], call.identity)
    kind = _kind(call.names["round"])
    size = announced(call.request, 2**63)
    file = await desk.in_thread(desk.rounds.expect, kind, silo, size)
    try:
        digest = await receive_body(call.request, file, size)
    except OSError as wrong:
        _remove(file)
        raise Refusal("busy", f"the disk: {wrong}") from wrong
    except BaseException:
        _remove(file)
        raise
    await desk.take(kind, silo, file, digest)  # the file is its own from here
    return Response(status_code=204)


def _remove(file: Path | None) -> None:
    if file is not None:
        file.unlink(missing_ok=True)


async def _get(service: AggregationService, call: Call) -> Response:
    desk, silo = service.find(call.names["session"], call.identity)
    kind = _kind(call.names["round"])
    data = await desk.wait(
        lambda: desk.rounds.answer(kind, silo), _wait(call.request), service.is_ending
    )
    if data is None:
        return Response(status_code=204)
    return Response(data, media_type=_BINARY)


async def _total(service: AggregationService, call: Call) -> Response:
    desk, silo = service.find(call.names["session"], call.identity)
    path = await desk.wait(
        lambda: desk.rounds.total(silo), _wait(call.request), service.is_ending
    )
    if path is None:
        return Response(status_code=204)
    if not service.publish:
        raise Refusal("forbidden", "totals are not published")
    return FileResponse(path, stat_result=path.stat(), media_type=_BINARY)


AGGREGATION_DOORS: tuple[Door[AggregationService], ...] = (
    *COMMON_DOORS,
    Door("GET", "/v1/sessions/{session}", _describe),
    Door("GET", "/v1/sessions/{session}/total", _total),
    Door("PUT", "/v1/sessions/{session}/{round}", _put, upload=True, stream=True),
    Door("GET", "/v1/sessions/{session}/{round}", _get),
)


def _kind(name: str) -> Kind:
    if name not in _KINDS:
        raise Refusal("not_found", f"no round {name:.64}")
    return _KINDS[name]


def _wait(request: Request) -> float:
    text = request.query_params.get("wait", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 5):
        raise Refusal("malformed", "wait is not a whole number of seconds")
    return min(int(text), MAX_WAIT_SECONDS)
