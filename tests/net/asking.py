"""Requests as they are: no retries, the connection in hand."""

import http.client
import json
import os
import socket
import ssl
import struct
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from helix_jax.net import tls
from helix_jax.net.refusals import CODES
from helix_jax.private import Client, FitClient

SECONDS = 240.0


class Reply(NamedTuple):
    """Status, headers and body of an answer."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def code(self) -> str:
        """Of a refusal, which says no more than its constant message.

        Raises:
          AssertionError: it does.
        """
        told = json.loads(self.body)
        known = CODES[told["error"]]
        assert told == {"error": told["error"], "message": known.message}
        assert self.status == known.status
        return told["error"]


class Asker:
    """One client's connection, opened when it is needed."""

    def __init__(
        self, url: str, *, token: str = "", authority: Path | None = None, **shown: Path
    ):
        """Take an address, a token, and files as of `tls.client_context`."""
        self._where, self._token = urlsplit(url), token
        context = tls.client_context(authority, **shown) if authority else None
        self._context: ssl.SSLContext | None = context
        self._http: http.client.HTTPConnection | None = None

    def __call__(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> Reply:
        """Ask once."""
        self.send(method, path, body, **headers)
        return self.receive()

    def send(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> None:
        """Send a request, whose answer `receive` waits for."""
        if self._http is None:
            host, port = self._where.hostname, self._where.port
            if self._context is None:
                self._http = http.client.HTTPConnection(host, port, timeout=SECONDS)
            else:
                self._http = http.client.HTTPSConnection(
                    host, port, timeout=SECONDS, context=self._context
                )
        known = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        self._http.request(method, path, body, {**known, **headers})

    def receive(self) -> Reply:
        """The answer to what was sent."""
        answer = self._http.getresponse()
        return Reply(answer.status, answer.headers, answer.read())

    def close(self) -> None:
        """Leave in order."""
        if self._http is not None:
            self._http.close()
        self._http = None

    def vanish(self) -> None:
        """Leave as a machine does that loses its power: no end, a reset at most."""
        linger = struct.pack("ii", 1, 0)
        self._http.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close()

    def open(self) -> socket.socket:
        """A connection for bytes that are no request, under TLS where there is one."""
        address = self._where.hostname, self._where.port
        plain = socket.create_connection(address, timeout=SECONDS)
        if self._context is None:
            return plain
        return self._context.wrap_socket(plain, server_hostname=self._where.hostname)

    def head(self, method: str, path: str, length: int) -> bytes:
        """The head of a request with a body of so many bytes."""
        return (
            f"{method} {path} HTTP/1.1\r\nHost: here\r\nContent-Length: {length}\r\n"
            f"Authorization: Bearer {self._token}\r\n\r\n"
        ).encode()


class Fitting:
    """A fit in single steps.

    Attributes:
      path: of the fit.
      client: with a key of its own, which is registered.
      messages: of rows.
    """

    def __init__(self, ask: Asker, rows: str, x, ids, *, number: str = ""):
        """Register a key and begin."""
        self.ask, self.client = ask, Client()
        register(ask, self.client)
        self.path = f"/v1/fits/{number or os.urandom(16).hex()}"
        self.asked = json.dumps({"rows": rows, "key": self.client.key.hex()}).encode()
        offer = ask("PUT", self.path, self.asked)
        assert offer.status == 200, offer
        self.side = FitClient(self.client, offer.body, x, ids=ids)
        self.messages = list(self.side.chunks())

    def put(self, number: int) -> Reply:
        """Send a message of rows."""
        return self.ask("PUT", f"{self.path}/rows/{number}", self.messages[number])

    @property
    def next(self) -> int:
        """The message that the service expects."""
        return json.loads(self.ask("GET", self.path).body)["next"]


def register(ask: Asker, client: Client) -> None:
    """Register a client's key."""
    answer = ask("PUT", f"/v1/keys/{client.key.hex()}", client.public_bundle())
    assert answer.status == 204, answer


def spent(ask: Asker, head: str) -> float:
    """Bits of a head that a client has had."""
    return json.loads(ask("GET", "/v1/account").body)["heads"][head]["bits"]
