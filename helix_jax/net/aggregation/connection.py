"""A silo's connection to the aggregation service: it sends, waits and tries again.

What is sent again is the same bytes, which the service takes once: no mask is used
twice, however often the network fails. An aggregator that is away is waited for.
"""

import json
from typing import Any

import numpy as np

from helix_jax.errors import ProcessError, ProtocolError
from helix_jax.net.aggregation.agreement import Agreement
from helix_jax.net.background import Background
from helix_jax.net.refusals import CODES
from helix_jax.net.transport import ServiceError, Transport
from helix_jax.private.aggregation import messages
from helix_jax.private.aggregation.aggregator import ROUNDS
from helix_jax.private.aggregation.messages import Kind

WAIT_SECONDS = 25  # of one request for what is not there yet
_MOST_DESCRIBED = 2**20
_ANSWERS = dict(zip(ROUNDS, (Kind.ALL_KEYS, Kind.SHARES_FOR, Kind.SURVIVORS)))
_ANSWERS[Kind.CONFIRM] = Kind.REQUEST
_WORDS = {
    "unauthorized": "does not know this token or certificate; ask its operator for one",
    "forbidden": "refuses this silo what it asked for",
    "not_found": "has no such session with this silo: compare the session's file, and "
    "the name that the token was issued for, with the operator's",
    "conflict": "has another message of this silo for the round, begun by "
    "another process, whose secrets went with it. Leave this session out, and agree on "
    "a new one if it is needed",
    "late": "closed the round without this silo, which is out of this sum",
    "ended": "reports that the session ended without a total: too few silos stayed, or "
    "one sent wrong shares. Agree on a new one",
    "untrusted": "has an untrusted certificate; it may be an impostor, and nothing "
    "was sent. Compare the address and the authority's file",
    "malformed": "does not accept this message; both need the same helix_jax and file",
}


class SiloConnection:
    """Requests of one silo in one session; a context that closes itself.

    Args:
      url: of the service, https://HOST:PORT.
      agreement: of all parties.
      patience: seconds for which the aggregator may be away, each time.
      **options: of `Transport`: token, authority, certificate, private_key, pin,
        plain_http.

    Raises:
      RunError: a malformed URL, or one that is not allowed.
      ValueError: a token that cannot be sent.
    """

    def __init__(
        self, url: str, agreement: Agreement, *, patience: float = 600.0, **options: Any
    ):
        self._agreement, self._patience, self._url = agreement, patience, url
        self.sent_bytes = self.received_bytes = 0
        self._background = Background()
        options |= {
            "patience_seconds": patience,
            "timeout_seconds": WAIT_SECONDS + 30.0,
            "again": ("failed",),  # the silo's secrets end with it, so it retries
        }
        try:
            self._transport = self._background.make(lambda: Transport(url, **options))
        except BaseException:
            self._background.close()
            raise

    def __enter__(self) -> "SiloConnection":
        return self

    def __exit__(self, *_: object) -> None:
        self._background.wait(self._transport.close())
        self._background.close()

    def send(self, kind: Kind, message: bytes) -> None:
        """Send this silo's message of a round; it is kept when this returns.

        Raises:
          ProtocolError: the service refuses it.
          ProcessError: the service was away for too long.
        """
        self._ask("PUT", kind.name.lower(), 0, message)
        self.sent_bytes += len(message)

    def receive(self, kind: Kind) -> bytes:
        """The result of a round for this silo, as soon as it has closed.

        Raises:
          ProtocolError, ProcessError: as `send`, or it is larger than it can be.
        """
        _, most = messages.message_bytes(self._agreement.session, _ANSWERS[kind])
        return self._wait(kind.name.lower(), most)

    def describe(self) -> dict[str, Any]:
        """The open round and the silos not heard yet; see `Rounds.describe`.

        Raises:
          ProtocolError, ProcessError: as `send`.
        """
        data = self._ask("GET", "", _MOST_DESCRIBED)
        return json.loads(data or b"{}")

    def total(self) -> np.ndarray:
        """[2, L] uint64, the total, as soon as it is there.

        Raises:
          ProtocolError, ProcessError: as `receive`, or it is not published.
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
        query = [("wait", str(WAIT_SECONDS))]
        while not (data := self._ask("GET", name, most, query=query)):
            pass  # 204: it is not there yet
        self.received_bytes += len(data)
        return data

    def _ask(
        self,
        method: str,
        name: str,
        most: int,
        content: bytes | None = None,
        query: list[tuple[str, str]] | None = None,
    ) -> bytes:
        """The body of an answer of `most` bytes at most; empty for 204."""
        path = f"/v1/sessions/{self._agreement.digest}/{name}".rstrip("/")
        asked = self._transport.ask(method, path, content, query=query, most=most)
        try:
            return self._background.wait(asked).body
        except ServiceError as error:
            away = ("unreachable", "failed", "timeout")
            if error.code in away or CODES.get(error.code, CODES["late"]).again:
                raise ProcessError(
                    f"aggregator: no answer from {self._url} for {self._patience:g} "
                    f"seconds (the last: {error}). Nothing is lost by waiting: see "
                    "whether the service runs, and give more patience to the next "
                    "session."
                ) from error
            words = _WORDS.get(error.code, "refuses it")
            raise ProtocolError(
                f"aggregator: {method} {name}: it {words} ({error.code}: {error})."
            ) from error
