"""Identities of clients: bearer tokens, and revoked certificates.

    token = helix_ID_SECRET: ID 16 hex digits, SECRET 32 random bytes as base64url

A token is shown once, when it is issued. Only its SHA-256 is kept, in the file of the
state's ledger; it needs no salt and no slow hash, since the secret has 256 bits.
Issuing and revoking are on the disk when they return, and every process sees them at
its next request: nothing is cached.

An identity is a name. Several tokens of one name, and its certificate, are one client:
they share its budget, which no new token resets.

Time is wall-clock time. A clock that jumps ahead ends tokens early, until it is
corrected; one that falls back makes expired ones valid again for as long as it is
behind. Revocation does not depend on the clock.
"""

import contextlib
import hashlib
import hmac
import math
import os
import re
import secrets
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from typing import NamedTuple

from helix_jax.errors import ProtocolError, RunError
from helix_jax.net.identity_tables import begin_tables, open_tables
from helix_jax.net.names import check_name, is_token_id
from helix_jax.net.tls import PeerCertificate
from helix_jax.paths import local_path
from helix_jax.private import Ledger
from helix_jax.private.forks import require_own
from helix_jax.private.ledger_file import Opened, is_at, transaction

_TOKEN = re.compile(r"helix_([0-9a-f]{16})_[A-Za-z0-9_-]{43}")
_NOBODY = bytes(hashlib.sha256().digest_size)


class Identity(NamedTuple):
    """The owner of a token, or of a certificate.

    Attributes:
      name: that the ledger counts under.
      token: id of the token, for the log; empty for a certificate.
      until: seconds since 1970, when this ends.
    """

    name: str
    token: str
    until: float


class Issued(NamedTuple):
    """A token as it is listed.

    Attributes:
      id, identity: as in `Identity`.
      made, until: seconds since 1970.
      revoked: the same; None if it was not.
    """

    id: str
    identity: str
    made: float
    until: float
    revoked: float | None


class Identities:
    """Issues, finds and revokes; for threads, and alongside other processes."""

    def __init__(self, path: str | os.PathLike):
        """Open the tables in a ledger's file, or begin both.

        Args:
          path: the file.

        Raises:
          ProtocolError: it cannot be used, or is of another release.
        """
        self._path = local_path(path, "the state's file")
        self._lock, self._process = threading.Lock(), os.getpid()
        self._open: list[Opened] = []
        weakref.finalize(self, _close, self._open)
        Ledger(self._path).close()
        with self._change() as connection:
            begin_tables(connection, self._path)

    def issue(self, identity: str, seconds: float) -> str:
        """A new token, which nobody can ask for again.

        Args:
          identity: of its holder.
          seconds: that it holds from now on.

        Raises:
          ValueError: a malformed name (RunError), or no time.
          ProtocolError: the file cannot be written.
        """
        check_name(identity)
        if not 0 < seconds < math.inf:
            raise ValueError(f"issue: seconds must be positive, got {seconds}.")
        token_id, now = secrets.token_hex(8), time.time()
        token = f"helix_{token_id}_{secrets.token_urlsafe(32)}"
        row = token_id, _hash(token), identity, now, now + seconds, None
        with self._change() as connection:
            connection.execute("INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?)", row)
        return token

    def find(self, token: str) -> Identity | None:
        """The owner of a token; None if it is malformed, unknown, expired or revoked.

        Raises:
          ProtocolError: the file cannot be read.
        """
        parts = _TOKEN.fullmatch(token) if isinstance(token, str) else None
        if parts is None:
            return None
        with self._use() as connection:
            row = connection.execute(
                "SELECT hash, identity, until, revoked FROM tokens WHERE id = ?",
                (parts[1],),
            ).fetchone()
        wanted, identity, until, revoked = row or (_NOBODY, "", 0.0, None)
        same = hmac.compare_digest(_hash(token), wanted)
        if not same or revoked is not None or until <= time.time():
            return None
        return Identity(identity, parts[1], until)

    def find_certificate(self, shown: PeerCertificate) -> Identity | None:
        """The owner of a certificate; None if it expired, or its name was revoked.

        Raises:
          ProtocolError: the file cannot be read.
        """
        with self._use() as connection:
            row = connection.execute(
                "SELECT seconds FROM revoked_certificates WHERE name = ?", (shown.name,)
            ).fetchone()
        if shown.ends <= time.time() or (row and shown.begins <= row[0]):
            return None
        return Identity(shown.name, "", shown.ends)

    def revoke(self, which: str) -> int:
        """End one token, or all of an identity, at once and for good.

        Args:
          which: id of a token, or an identity.

        Returns:
          How many ended with this.

        Raises:
          RunError: none that could has this id or identity.
          ProtocolError: the file cannot be written.
        """
        column = "id" if is_token_id(which) else "identity"
        with self._change() as connection:
            count = connection.execute(
                f"UPDATE tokens SET revoked = ? WHERE {column} = ? AND revoked IS NULL",
                (time.time(), which),
            ).rowcount
        if not count:
            raise RunError(f"no token of {column} {which!r} is left to be revoked.")
        return count

    def revoke_certificate(self, name: str) -> None:
        """Revoke certificates of a name that begin before now, or now.

        A later certificate is valid: the identity, and what it has used, stay the same.

        Raises:
          RunError: a malformed name.
          ProtocolError: the file cannot be written.
        """
        check_name(name)
        with self._change() as connection:
            connection.execute(
                "INSERT INTO revoked_certificates VALUES (?, ?) ON CONFLICT DO UPDATE "
                "SET seconds = MAX(seconds, excluded.seconds)",  # clocks go back, too
                (name, time.time()),
            )

    def all(self) -> list[Issued]:
        """All tokens that were ever issued, the oldest first."""
        with self._use() as connection:
            rows = connection.execute(
                "SELECT id, identity, made, until, revoked FROM tokens ORDER BY made"
            ).fetchall()
        return [Issued(*row) for row in rows]

    def revoked_certificates(self) -> dict[str, float]:
        """Name -> seconds since 1970 until when certificates of it must not begin."""
        with self._use() as connection:
            ask = "SELECT name, seconds FROM revoked_certificates ORDER BY name"
            return dict(connection.execute(ask).fetchall())

    def close(self) -> None:
        """Leave the file, until the next use opens it again."""
        with self._lock:
            _close(self._open)

    @contextlib.contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        with self._use() as connection, transaction(connection):
            yield connection

    @contextlib.contextmanager
    def _use(self) -> Iterator[sqlite3.Connection]:
        """The connection for one piece of work, and SQLite's errors as ours."""
        require_own(self._process, "this connection to the tokens")
        with self._lock:
            try:
                if self._open and not is_at(self._open[0], self._path):
                    _close(self._open)
                    raise sqlite3.OperationalError("the file was moved or replaced")
                if not self._open:
                    self._open.append(open_tables(self._path))
                yield self._open[0].connection
            except sqlite3.Error as wrong:
                _close(self._open)
                raise ProtocolError(
                    f"the tokens in {self._path} cannot be used ({wrong})."
                ) from wrong


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _close(opened: list[Opened]) -> None:
    while opened:
        opened.pop().connection.close()
