"""Answers to requests: messages, and refusals that reveal nothing."""

import contextlib
import logging

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from helix_jax.net.refusals import CODES, Refusal, code_of

LOG = logging.getLogger(__name__)
_BINARY = "application/octet-stream"


def message(body: bytes, headers: dict[str, str] | None = None) -> Response:
    """A message of helix_jax.private."""
    return Response(body, media_type=_BINARY, headers=headers)


def refused(refusal: Refusal) -> Response:
    """A refusal: its code and constant message."""
    code = CODES[refusal.code]
    headers = {"connection": "close"} if refusal.code == "timeout" else {}
    if refusal.after is not None or code.again:
        after = 1 if refusal.after is None else refusal.after
        headers["retry-after"] = str(max(1, round(after)))
    if refusal.code == "unauthorized":
        headers["www-authenticate"] = "Bearer"
    content = {"error": refusal.code, "message": code.message}
    return JSONResponse(content, status_code=code.status, headers=headers)


def explain(error: Exception, where: str) -> tuple[Response, str]:
    """The response to an error, and what goes to the log."""
    if isinstance(error, Refusal):
        return refused(error), error.detail
    if code_of(error) == "failed":
        LOG.exception("%s failed", where)
    return refused(Refusal(code_of(error))), repr(error)


class Held:
    """A response, and what is released when its reader has it or is gone."""

    def __init__(self, response: Response, held: contextlib.ExitStack):
        self._response, self._held = response, held
        self.status_code, self.headers = response.status_code, response.headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        with self._held:
            await self._response(scope, receive, send)


def size_of(response: "Response | Held") -> int:
    """Bytes of its body."""
    return int(response.headers.get("content-length", 0))
