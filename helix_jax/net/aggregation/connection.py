"""A silo's connection to the aggregation service: it sends, waits and tries again.

What is sent again is the same bytes, which the service takes once: no mask is used
twice, however often the network fails. An aggregator that is away is waited for.
"""

import json
import logging
import random
import re
import ssl
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any

import httpx2
import numpy as np

from helix_jax.errors import ProcessError, ProtocolError, RunError
from helix_jax.net.aggregation.agreement import Agreement
from helix_jax.net.tls import client_context, require_plain_allowed
from helix_jax.private.aggregation import messages
from helix_jax.private.aggregation.aggregator import ROUNDS
from helix_jax.private.aggregation.messages import Kind

LOG = logging.getLogger(__name__)
WAIT_SECONDS = 25  # of one request for what is not there yet
_PAUSES = 0.1, 5.0  # the first and the longest between two tries
_MOST_DESCRIBED = 2**20
_AGAIN = (408, 429, 500, 502, 503, 504)
_ANSWERS = dict(zip(ROUNDS, (Kind.ALL_KEYS, Kind.SHARES_FOR, Kind.SURVIVORS)))
_ANSWERS[Kind.CONFIRM] = Kind.REQUEST
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")
_WORDS = {
    "unauthorized": "does not know this token or certificate; ask its operator for one",
    "forbidden": "does not give this silo what it asked for",
    "not_found": "has no such session with this silo: compare the session's file, and "
    "the name that the token was issued for, with the operator's",
    "conflict": "has another message of this silo for the round: it was begun by "
    "another process, whose secrets went with it. Leave this session out, and agree on "
    "a new one if it is needed",
    "late": "closed the round without this silo, which is out of this sum",
    "ended": "says that the session ended without a total: too few silos stayed, or "
    "one sent wrong shares. Agree on a new one",
    "malformed": "cannot take this message; both need the same helix_jax and file",
}


class SiloConnection:
    """Requests of one silo in one session; a context that closes itself.

    Args:
      url: of the service, https://HOST:PORT.
      agreement: of all parties.
      token: bearer token; None where the certificate of `tls` says who this is.
      tls: as `tls.client_context`; None takes the authorities of the system.
      plain: allows http://, to this machine alone.
      patience: seconds for which the aggregator may be away, each time.

    Raises:
      RunError: a URL that cannot be, or is not allowed.
      ValueError: a token that cannot be sent.
    """

    def __init__(
        self,
        url: str,
        agreement: Agreement,
        *,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
        plain: bool = False,
        patience: float = 600.0,
    ):
        if token is not None and not _TOKEN.fullmatch(token):
            raise ValueError("SiloConnection: the token has characters that none has.")
        if _is_secure(url, plain) and tls is None:
            tls = client_context()
        self._agreement, self._patience = agreement, patience
        self._url = f"{url.rstrip('/')}/v1/sessions/{agreement.digest}"
        self.sent_bytes = self.received_bytes = 0
        self._client = httpx2.Client(
            headers={"Authorization": f"Bearer {token}"} if token else {},
            verify=tls if tls is not None else True,
            trust_env=False,
            timeout=httpx2.Timeout(30.0, read=WAIT_SECONDS + 30.0, write=30.0),
        )

    def __enter__(self) -> "SiloConnection":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def send(self, kind: Kind, message: bytes) -> None:
        """Send this silo's message of a round; it is kept when this returns.

        Raises:
          ProtocolError: the service refuses it.
          ProcessError: the service was away for too long.
        """
        self._ask("PUT", kind.name.lower(), 0, message)
        self.sent_bytes += len(message)

    def receive(self, kind: Kind) -> bytes:
        """What a round came to for this silo, as soon as it has closed.

        Raises:
          ProtocolError, ProcessError: as `send`, or it is larger than it can be.
        """
        _, most = messages.message_bytes(self._agreement.session, _ANSWERS[kind])
        return self._wait(kind.name.lower(), most)

    def describe(self) -> dict[str, Any]:
        """The open round and who is waited for; see `Rounds.describe`.

        Raises:
          ProtocolError, ProcessError: as `send`.
        """
        data = self._ask("GET", "", _MOST_DESCRIBED)
        return json.loads(data or b"{}")

    def total(self) -> np.ndarray:
        """[2, L] uint64, the total, as soon as it is there.

        Raises:
          ProtocolError, ProcessError: as `receive`; it may not be published, too.
        """
        size = 16 * self._agreement.session.length
        data = self._wait("total", size)
        if len(data) != size:
            raise ProtocolError(
                f"aggregator: the total needs {size} bytes, {len(data)} came."
            )
        words = np.frombuffer(data, "<u8").reshape(2, self._agreement.session.length)
        return words.astype(np.uint64)

    def _wait(self, name: str, most: int) -> bytes:
        while True:
            data = self._ask("GET", f"{name}?wait={WAIT_SECONDS}", most)
            if data is not None:
                self.received_bytes += len(data)
                return data

    def _ask(
        self, method: str, place: str, most: int, content: bytes | None = None
    ) -> bytes | None:
        """The body of an answer; None for 204. Tries again while that may help."""
        url, reason = f"{self._url}/{place}".rstrip("/"), ""
        for pause in self._pauses():
            try:
                with self._client.stream(method, url, content=content) as response:
                    if response.status_code == 204:
                        return None
                    if response.status_code == 200:
                        return _read(response, most)
                    code = _code(response)
                    if response.status_code not in _AGAIN:
                        raise ProtocolError(_said(method, place, code))
                    reason = code
            except httpx2.TransportError as wrong:
                reason = f"{type(wrong).__name__}: {wrong}"
                if isinstance(wrong.__cause__ or wrong.__context__, Exception):
                    _require_no_tls_error(wrong)
            LOG.info("%s %s: %s; again in %.1f s", method, place, reason, pause)
            time.sleep(pause)
        raise ProcessError(
            f"aggregator: no answer from {self._url} for {self._patience:g} seconds "
            f"(the last: {reason}). Nothing is lost by waiting: see whether the "
            "service runs, and give more patience to the next session."
        )

    def _pauses(self) -> Iterator[float]:
        """Growing ones with chance in them, until patience is at its end."""
        began, pause = time.monotonic(), _PAUSES[0]
        while time.monotonic() - began < self._patience:
            yield pause * random.uniform(0.5, 1.0)
            pause = min(2 * pause, _PAUSES[1])


def _is_secure(url: str, plain: bool) -> bool:
    """Whether a URL is one of TLS; raises where it is none that may be used."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RunError(f"expected https://HOST:PORT, got {url!r}.")
    if parts.scheme == "http":
        require_plain_allowed(parts.hostname, plain)
    return parts.scheme == "https"


def _read(response: httpx2.Response, most: int) -> bytes:
    """A body of at most so many bytes."""
    data = bytearray()
    for chunk in response.iter_raw():
        if len(data) + len(chunk) > most:
            raise ProtocolError(
                f"aggregator: an answer is longer than the {most} bytes that it may "
                "have; nothing of it is used."
            )
        data += chunk
    return bytes(data)


def _code(response: httpx2.Response) -> str:
    """The code of an error; a word for what is none."""
    try:
        data = _read(response, 1000)
        code = httpx2.Response(200, content=data).json()["error"]
    except (ProtocolError, ValueError, KeyError, TypeError):
        code = ""
    return code if isinstance(code, str) and code else str(response.status_code)


def _said(method: str, place: str, code: str) -> str:
    name = place.partition("?")[0]
    words = _WORDS.get(code, "refuses it")
    return f"aggregator: {method} {name}: it {words} ({code})."


def _require_no_tls_error(wrong: BaseException) -> None:
    """Raise where trying again cannot help: the certificate is not to be trusted."""
    seen: BaseException | None = wrong
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            raise ProtocolError(
                f"aggregator: its certificate is not trusted ({seen}). Nothing "
                "was sent; compare the address and the authority's file."
            ) from wrong
        seen = seen.__cause__ or seen.__context__
