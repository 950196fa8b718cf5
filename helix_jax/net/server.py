"""A listening service: TLS, identification of clients, and an orderly end.

SIGTERM and SIGINT: no new work is accepted, requests in progress are answered, workers
end, the state is left complete. SIGKILL costs requests in progress, and nothing that
was answered.
"""

import asyncio
import contextlib
import importlib.util
import logging
import signal
import ssl
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.types import ASGIApp

from helix_jax.errors import RunError
from helix_jax.locks import hold
from helix_jax.net import tls
from helix_jax.net.app import make_app
from helix_jax.net.connections import Connection
from helix_jax.net.doors import DOORS, Door
from helix_jax.net.identities import Identities
from helix_jax.net.page import page_doors
from helix_jax.net.plain_http import is_loopback, require_plain_allowed
from helix_jax.net.refusals import Refusal
from helix_jax.net.served import Served
from helix_jax.net.service import Service
from helix_jax.net.settings import ServiceSettings
from helix_jax.net.state_file import FILE

LOG = logging.getLogger(__name__)
ANONYMOUS = "anonymous"
_BACKLOG, _IDLE_SECONDS = 256, 75
_DRAIN_SECONDS = 10  # beyond what a worker may take


class _Server(uvicorn.Server):
    """uvicorn's server, without its signal handlers: we install our own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


def check_settings(settings: ServiceSettings) -> None:
    """Refuse settings that cannot be served, before anything starts.

    Raises:
      RunError: says which.
    """
    if not settings.heads and not settings.rows and not settings.indexes:
        raise RunError("nothing is served: give --heads, --rows, --indexes or --config")
    check_listening(settings)
    if settings.workers < 1:
        raise RunError(f"workers must be 1 or more, got {settings.workers}")
    for identity, own in settings.clients.items():
        for kind in ("policies", "budgets"):
            for head in getattr(own, kind):
                if head not in settings.heads:
                    raise RunError(f"clients.{identity}.{kind}: no head {head!r}")
        for head, bits in own.budgets.items():
            if isinstance(bits, bool) or not (
                isinstance(bits, int | float) and bits > 0
            ):
                raise RunError(
                    f"clients.{identity}.budgets.{head}: expected more than 0 bits, "
                    f"got {bits!r}; to allow none, issue no token and no certificate"
                )
        try:
            settings.limits_of(identity)
        except TypeError as error:
            raise RunError(f"clients.{identity}.limits: {error}") from error


def check_listening(settings: ServiceSettings) -> None:
    """Refuse an address, or TLS settings, that must not be listened on.

    Raises:
      RunError: says which.
    """
    if bool(settings.certificate) != bool(settings.private_key):
        raise RunError("certificate and private_key need each other")
    if not settings.certificate:
        require_plain_allowed(settings.host, settings.plain_http)
    if settings.anonymous and not is_loopback(settings.host):
        raise RunError(
            f"anonymous clients are served only on this machine, not at "
            f"{settings.host}: give tokens or certificates"
        )
    if settings.client_authority and not settings.certificate:
        raise RunError("client_authority needs TLS: give certificate and private_key")


def identifier(
    settings: ServiceSettings, identities: Identities
) -> Callable[[Request], str | None]:
    """Identify a request's client by token, certificate or, if allowed, neither."""

    def identify(request: Request) -> str | None:
        written = request.headers.get("authorization")
        if written is not None:
            kind, _, token = written.partition(" ")
            found = identities.find(token) if kind.lower() == "bearer" else None
            return found and found.name
        shown = request.scope.get("helix_certificate")
        if shown is not None:
            found = identities.find_certificate(shown)
            return found and found.name
        return ANONYMOUS if settings.anonymous else None

    return identify


def serve(
    settings: ServiceSettings,
    *,
    on_ready: Callable[[str], None] = print,
    on_end: Callable[[str], None] = print,
) -> None:
    """Serve until the process is asked to end.

    Args:
      settings: of the service.
      on_ready: gets the address, once it is served.
      on_end: gets a sentence: what was served, how many requests, where the state is.

    Raises:
      RunError: the service cannot be served; says why.
    """
    check_settings(settings)
    doors = *DOORS, *page_doors()
    service = Service(settings)
    serve_service(settings, service, doors, on_ready=on_ready, on_end=on_end)


def serve_service(
    settings: ServiceSettings,
    service: Served,
    doors: tuple[Door[Any], ...],
    *,
    on_ready: Callable[[str], None] = print,
    on_end: Callable[[str], None] = print,
) -> None:
    """Serve a given service, until the process is asked to end.

    Args:
      settings: where to listen, and who may ask.
      service: the service.
      doors: the routes that it offers.
      on_ready, on_end: as for `serve`.

    Raises:
      RunError: the service cannot be served; says why.
    """
    folder = Path(settings.state)
    identities = Identities(folder / FILE)
    app = make_app(service, identifier(settings, identities), doors)
    with hold(folder, "a service"):
        _run(listen(settings, service, app, on_ready))
    identities.close()
    requests = service.metrics.answered()
    on_end(
        f"{settings.name} has ended: {requests:,} requests answered, state in {folder}"
    )


async def listen(
    settings: ServiceSettings,
    service: Served,
    app: ASGIApp,
    on_ready: Callable[[str], None],
) -> None:
    """Start a service, serve its application until a signal, and close it."""
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=Connection,
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=int(settings.operation_seconds) + _DRAIN_SECONDS,
    )
    config.load()
    if settings.certificate:
        config.ssl = _server_context(settings)

    server, loop = _Server(config), asyncio.get_running_loop()
    starting = asyncio.current_task()

    def end() -> None:
        service.draining = server.should_exit = True
        if not server.started and starting is not None:
            starting.cancel()

    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, end)
    try:
        await service.start()
        listening = asyncio.create_task(server.serve())
        while not server.started and not listening.done():
            await asyncio.sleep(0.01)
        if server.started:
            on_ready(_address(settings, server))
        await listening
    except Refusal as error:
        raise RunError(f"nothing can be served: {error.detail}") from error
    except SystemExit as error:  # uvicorn's, where the port is taken
        raise RunError(
            f"cannot listen on {settings.host}:{settings.port}; another program "
            "may use it: choose another --port"
        ) from error
    except asyncio.CancelledError:
        LOG.warning("ended before anything was served")
    finally:
        await service.close()


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop if it is installed: requests take a third less time."""
    if importlib.util.find_spec("uvloop") is None:  # not on Windows
        asyncio.run(work)
    else:
        import uvloop

        uvloop.run(work)


def _server_context(settings: ServiceSettings) -> ssl.SSLContext:
    return tls.server_context(
        settings.certificate,
        settings.private_key,
        settings.client_authority or None,
        require_client=False,  # a client without one may have a token
    )


def _address(settings: ServiceSettings, server: uvicorn.Server) -> str:
    port = server.servers[0].sockets[0].getsockname()[1]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{'https' if settings.certificate else 'http'}://{host}:{port}"
