"""An application on uvicorn, one process, until it is told to end."""

import asyncio
import logging
import signal
import ssl
from collections.abc import Awaitable, Callable

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request

from helix_jax.errors import RunError
from helix_jax.net.identities import Identities

KEEP_ALIVE_SECONDS = 75
DRAIN_SECONDS = 5  # of requests that are under way, at the end


def serve(
    app: Starlette,
    *,
    host: str,
    port: int,
    tls: ssl.SSLContext | None,
    ready: Callable[[str], None],
    on_signal: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Answer requests until SIGTERM or SIGINT.

    Args:
      app: what answers.
      host, port: where to listen; port 0 takes one that is free.
      tls: as `tls.server_context`; None serves without TLS.
      ready: told the URL when requests are taken.
      on_signal: done at each SIGUSR1.

    Raises:
      RunError: nothing can listen there.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        ssl_context_factory=None if tls is None else lambda *_: tls,
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    server = _Announced(config, f"http{'s' if tls else ''}", ready, on_signal)
    try:
        server.run()
    except SystemExit as ended:  # uvicorn has logged why
        raise RunError(
            f"nothing can listen at {host}, port {port}: it is in use, or not this "
            "machine's. Choose another --port or --host."
        ) from ended


def bearer(identities: Identities) -> Callable[[Request], str | None]:
    """Who asks, by the token of the request; None for a stranger."""

    def identify(request: Request) -> str | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        found = identities.find(token) if scheme.lower() == "bearer" else None
        return found and found.name

    return identify


class _Announced(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, scheme: str, ready, on_signal):
        super().__init__(config)
        self._scheme, self._ready, self._on_signal = scheme, ready, on_signal

    async def startup(self, sockets=None) -> None:
        await super().startup(sockets)
        if self._on_signal:
            asyncio.get_running_loop().add_signal_handler(
                signal.SIGUSR1, lambda: asyncio.ensure_future(self._on_signal())
            )
        for server in getattr(self, "servers", []):
            host, port, *_ = server.sockets[0].getsockname()
            shown = f"[{host}]" if ":" in host else host
            self._ready(f"{self._scheme}://{shown}:{port}")
            logging.getLogger(__name__).info("listening at %s, port %d", host, port)
