"""A client's requests, with timeouts and retries.

A retry sends the same bytes, so that the service recognises it; docs/protocol.md says
what the service does then. A refusal that no retry would change is raised.
"""

import asyncio
import json
import os
import random
import re
import ssl
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx2

from helix_jax.errors import HelixError, RunError
from helix_jax.net import tls
from helix_jax.net.plain_http import require_plain_allowed
from helix_jax.net.refusals import CODES
from helix_jax.secret_files import read_secret

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
_REFUSAL_BYTES = 1000  # most of a refusal's body
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")


class ServiceError(HelixError, RuntimeError):
    """A service refused, or could not be reached.

    Attributes:
      code: of `refusals.CODES`; "unreachable" if there was no answer, "untrusted" if
        the server cannot prove its identity, "unknown" for an answer without a code.
    """

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code


class Answer(NamedTuple):
    """A body, and the headers that came with it."""

    body: bytes
    headers: Mapping[str, str]


class Transport:
    """Requests to one service over connections that stay open."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        authority: str | os.PathLike | None = None,
        certificate: str | os.PathLike | None = None,
        private_key: str | os.PathLike | None = None,
        pin: str | None = None,
        plain_http: bool = False,
        timeout_seconds: float = 120.0,
        patience_seconds: float = 120.0,
        answer_bytes: int = 2**28,
        again: Collection[str] = (),
    ):
        """Take the address and what identifies each side; nothing is sent yet.

        Args:
          url: https://HOST:PORT.
          token: of this client.
          authority: PEM file of the authority that signs the service's certificate;
            None: those of the system.
          certificate, private_key: PEM files of this client (mutual TLS).
          pin: "sha256/..." of the service's public key.
          plain_http: allow http://, on loopback only.
          timeout_seconds: of one request.
          patience_seconds: of all attempts at one request, from the first.
          answer_bytes: size limit of an answer; a larger one is refused.
          again: codes of refusals after which a retry can help, in addition to those
            that say so themselves.

        Raises:
          RunError: the address is malformed, or not allowed.
          ValueError: the token cannot be sent.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RunError(f"expected https://HOST:PORT, got {url!r}.")
        context: ssl.SSLContext | bool = True
        if parts.scheme == "http":
            require_plain_allowed(parts.hostname, plain_http)
        else:
            context = tls.client_context(authority, certificate, private_key, pin)
        headers = {"accept-encoding": "identity"}
        if token and not _TOKEN.fullmatch(token):
            raise ValueError("Transport: the token has characters that no token has.")
        if token:
            headers["authorization"] = f"Bearer {token}"
        self._patience, self.url = patience_seconds, url
        self._answer_bytes, self._again = answer_bytes, frozenset(again)
        self._http = httpx2.AsyncClient(
            base_url=url,
            headers=headers,
            verify=context,
            timeout=timeout_seconds,
            follow_redirects=False,
            trust_env=False,
            limits=httpx2.Limits(max_connections=16, keepalive_expiry=60),
        )

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        query: list[tuple[str, str]] | None = None,
        most: int | None = None,
    ) -> Answer:
        """Send a request until it is answered, refused for good, or patience runs out.

        Args:
          method, path, query: of the request.
          body: of the request; None for none.
          most: size limit of this answer in bytes; None for that of all answers.

        Raises:
          ServiceError: the request was refused, or the service could not be reached.
        """
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + self._patience, FIRST_PAUSE
        while True:
            after, wrong = 0.0, None
            try:
                answer, content = await self._exchange(method, path, body, query, most)
                if answer.is_success:
                    return Answer(content, answer.headers)
                wrong, again = _refusal(answer, content)
                if not again and wrong.code not in self._again:
                    raise wrong
                written = answer.headers.get("retry-after", "")
                after = float(written) if written.isdigit() else 0.0
                if wrong.code == "quota" and after > LONGEST_PAUSE:
                    raise wrong
            except httpx2.TransportError as error:
                if _is_distrust(error):
                    raise ServiceError(
                        "untrusted", f"{self.url} cannot prove its identity: {error}"
                    ) from error
                wrong = ServiceError(
                    "unreachable", f"{self.url} cannot be reached: {error!r}"
                )
            wait = max(min(after, LONGEST_PAUSE), pause * random.uniform(0.5, 1.5))
            if loop.time() + wait > until:
                raise wrong
            await asyncio.sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _exchange(
        self,
        method: str,
        path: str,
        body: bytes | None,
        query: list[tuple[str, str]] | None,
        most: int | None,
    ) -> tuple[httpx2.Response, bytes]:
        """Send one request; stop reading an answer that exceeds its size limit."""
        found, most = bytearray(), self._answer_bytes if most is None else most
        async with self._http.stream(
            method, path, content=body, params=None if query is None else tuple(query)
        ) as answer:
            if "content-encoding" in answer.headers:  # it was not requested
                raise ServiceError("malformed", f"{answer.url} answered compressed.")
            async for piece in answer.aiter_raw():
                found += piece
                if len(found) > max(most, _REFUSAL_BYTES * (not answer.is_success)):
                    raise ServiceError(
                        "malformed", f"{answer.url} answered more than {most} bytes."
                    )
        return answer, bytes(found)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


def read_token(path: str | os.PathLike) -> str:
    """A token from a file that only its owner may read.

    Raises:
      RunError: the file cannot be read, or others may read it.
    """
    content = read_secret(Path(path), "a client's token", raises=RunError)
    try:
        return content.decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise RunError(f"{path} holds no token: {error}.") from error


def _refusal(answer: httpx2.Response, content: bytes) -> tuple[ServiceError, bool]:
    """A refusal, and whether a retry can help."""
    try:
        code = json.loads(content)["error"]
        known = CODES[code]
    except (ValueError, KeyError, TypeError, RecursionError):
        again = answer.status_code in (408, 429, 502, 503, 504)
        found = f"{answer.status_code} {content[:100]!r}"
        return ServiceError("unknown", f"{answer.url} answered {found}."), again
    again = known.again or code == "timeout"
    return ServiceError(code, f"{answer.url}: {code}: {known.message}"), again


def _is_distrust(error: BaseException | None) -> bool:
    """Whether a certificate, a name or a pin was wrong: no retry can help."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError | HelixError):
            return True
        error = error.__cause__ or error.__context__
    return False
