"""The routes of the page: itself, its style and script, and /v1/status.

They are read-only and name no client. The page asks /v1/account by its script, with
the certificate of its connection or a token that stays in the page's memory.
"""

import json
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

import helix_jax
from helix_jax.net.capabilities import PROTOCOL
from helix_jax.net.doors import Call, Door
from helix_jax.net.page import parts
from helix_jax.net.page.status import Status
from helix_jax.net.refusals import Refusal
from helix_jax.net.service import Service
from helix_jax.private import wire

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def page_doors() -> tuple[Door[Service], ...]:
    """Doors of one service's page, which share its numbers of the last seconds."""
    status, place = Status(), files(__package__)
    template = Template((place / "page.html").read_text("utf-8"))
    style, script = (
        (place / name).read_text("utf-8") for name in ("page.css", "page.js")
    )

    async def show(service: Service, call: Call) -> Response:
        known = status.of(service) if service.settings.show_load else None
        text = template.substitute(_fields(service, known, call.request))
        return Response(text, media_type="text/html", headers=HEADERS)

    async def show_style(service: Service, call: Call) -> Response:
        return Response(style, media_type="text/css", headers=HEADERS)

    async def show_script(service: Service, call: Call) -> Response:
        return Response(script, media_type="text/javascript", headers=HEADERS)

    async def show_status(service: Service, call: Call) -> Response:
        if not service.settings.show_load:
            raise Refusal("not_found", "show_load is false")
        return JSONResponse(status.of(service), headers=HEADERS)

    return (
        Door("GET", "/", show, open=True),
        Door("GET", "/page.css", show_style, open=True),
        Door("GET", "/page.js", show_script, open=True),
        Door("GET", "/v1/status", show_status, open=True),
    )


def _fields(
    service: Service, status: dict[str, Any] | None, request: Request
) -> dict[str, str]:
    """The words of the template."""
    try:
        served = parts.served(service.capabilities())
    except Refusal:
        served = "<p>No worker serves at this moment; look again soon.</p>"
    known = bool(request.scope.get("helix_certificate")) or service.settings.anonymous
    closed = "<p>This service does not show its load.</p>"
    return {
        "name": escape(service.settings.name),
        "release": escape(helix_jax.__version__),
        "protocol": str(PROTOCOL),
        "wire": str(wire.VERSION),
        "served": served,
        "load": parts.load(status) if status else closed,
        "latency": parts.latency(status) if status else closed,
        "known": json.dumps(known),
    }
