"""A connection of the server: the client's certificate, and limits on slow clients.

uvicorn bounds the time between requests; here that of a request's head, and of an
answer that its reader does not take.
"""

import asyncio
import logging
from collections import OrderedDict
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from helix_jax.errors import KeyRoleError
from helix_jax.net.tls import peer_certificate

LOG = logging.getLogger(__name__)
HEAD_SECONDS = 15.0
HEAD_BYTES = 32_768
READER_SECONDS = 60.0  # without taking a byte
_LOOK_SECONDS = 5.0
HEAD_TOO_LARGE = b"Request head too large."
STRANGERS = 256  # connections that have not identified themselves
_STRANGERS: "OrderedDict[Connection, None]" = OrderedDict()


class Connection(HttpToolsProtocol):
    """uvicorn's, with a peer's certificate in the scope of each request."""

    _shown: Any = None
    _head: asyncio.TimerHandle | None = None
    _look: asyncio.TimerHandle | None = None
    _rest: asyncio.TimerHandle | None = None
    _left, _stuck, _head_bytes, _arriving = 0, 0.0, 0, False

    def connection_made(  # type: ignore[override]  # as uvicorn's does
        self, transport: asyncio.Transport
    ) -> None:
        """Read the certificate, and begin to watch."""
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            try:
                self._shown = peer_certificate(tls)
            except KeyRoleError as error:
                LOG.warning("a client's certificate: %s", error)
                transport.abort()
                return
        self._expect_head()
        self._look = self.loop.call_later(_LOOK_SECONDS, self._watch)
        # The unidentified make room for others, the oldest first.
        _STRANGERS[self] = None
        while len(_STRANGERS) > STRANGERS:
            _STRANGERS.popitem(last=False)[0].transport.abort()

    def is_known(self) -> None:
        """A request has identified this connection's client."""
        _STRANGERS.pop(self, None)

    def data_received(self, data: bytes) -> None:
        """Bytes came; on an idle connection they begin a request."""
        if self._head is None and self._is_idle():
            self._expect_head()
        if self._head is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES + 2**18:  # what one read may hold
                self._refuse_head()
                return
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """A request's head is here."""
        if self.transport.is_closing():  # it follows one that was refused
            return
        if self._head is not None:
            self._head.cancel()
            self._head, self._head_bytes = None, 0
        if sum(len(name) + len(value) for name, value in self.headers) > HEAD_BYTES:
            self._refuse_head()
            return
        self._arriving = True
        scope = cast(dict[str, Any], self.scope)
        scope |= {"helix_certificate": self._shown, "helix_connection": self}
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A whole request is here."""
        self._arriving = False
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer is on its way, perhaps while its request still arrives.

        The rest of a refused request is read and dropped for a time: if the connection
        ended while the client is sending, it would not see the refusal.
        """
        super().on_response_complete()
        if self._arriving and self._rest is None:
            self._rest = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching."""
        _STRANGERS.pop(self, None)
        for timer in (self._head, self._look, self._rest):
            if timer is not None:
                timer.cancel()
        self._head = self._look = self._rest = None
        super().connection_lost(exc)

    def _refuse_head(self) -> None:
        """431, and the end of the connection; there is no request to answer yet."""
        self.transport.write(
            b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
            b"content-type: text/plain; charset=utf-8\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n%s"
            % (len(HEAD_TOO_LARGE), HEAD_TOO_LARGE)
        )
        self.transport.close()

    def _is_idle(self) -> bool:
        done = self.cycle is None or self.cycle.response_complete
        return done and not self._arriving

    def _expect_head(self) -> None:
        self._head_bytes = 0
        self._head = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _watch(self) -> None:
        """End a connection whose reader takes nothing."""
        left = self.transport.get_write_buffer_size()
        stuck = left > 0 and left == self._left
        self._stuck = self._stuck + _LOOK_SECONDS if stuck else 0.0
        self._left = left
        if self._stuck >= READER_SECONDS:
            self.transport.abort()
            return
        self._look = self.loop.call_later(_LOOK_SECONDS, self._watch)
