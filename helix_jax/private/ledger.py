"""What a provider has given out, in bits, by what it was about and to whom.

    charge first, answer then: what is not in the ledger has not left

A ledger is a SQLite file. Threads, processes, forks and restarts share it: a charge is
one transaction that begins with the lock, so that of two at once the second sees the
first, and each is made through a connection of its own, which no fork inherits. It is
one file whenever nobody charges, so that a copy of it is whole. Without a file it lives
as long as the object, for rehearsals.

Reference: https://sqlite.org/lang_transaction.html, https://sqlite.org/howtocorrupt.html
  (2.6: forks).
"""

import contextlib
import math
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from helix_jax.errors import ProtocolError
from helix_jax.paths import local_path, os_errors

_WAIT = 30.0  # seconds for other processes' charges
_APPLICATION = 0x48454C58  # "HELX", of SQLite's application_id
_SCHEMA = """
CREATE TABLE IF NOT EXISTS charges (
  subject BLOB NOT NULL,
  reference BLOB NOT NULL,
  client TEXT NOT NULL,
  bits REAL NOT NULL,
  seconds REAL NOT NULL,
  PRIMARY KEY (subject, reference)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS about (name BLOB NOT NULL);
"""


class Ledger:
    """Bits given out, by subject and client.

    Attributes:
      name: 16 bytes, of this ledger and its copies.
    """

    def __init__(self, path: str | os.PathLike | None = None):
        """Open a ledger, or begin one.

        Args:
          path: the file; None keeps it in this process, where a fork does not find it.

        Raises:
          ProtocolError: it cannot be opened, or is something else.
        """
        self._path = None if path is None else local_path(path, "the ledger")
        self._lock, self._process = threading.Lock(), os.getpid()
        if self._path is None:
            self._memory = _connect(":memory:")
        else:
            with os_errors(self._path, "be written", ProtocolError):
                self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._use() as connection:
            self.name = _begin(connection, self._path)

    def charge(
        self,
        subject: bytes,
        client: str,
        bits: float,
        *,
        reference: bytes,
        budget: float | None,
    ) -> float:
        """Write down an answer before it leaves.

        Args:
          subject: names what it is about.
          client: who receives it.
          bits: that it tells at most.
          reference: of this one answer.
          budget: bits of the subject that the client may have in all; None is no limit.

        Returns:
          Bits that the client has had of the subject, with these.

        Raises:
          ValueError: bits that are none, or a client that is no text.
          ProtocolError: the reference was charged before, to whomever, the budget does
            not allow it, or the ledger cannot be written. Nothing is charged then.
        """
        _check_client(client)
        if not 0 <= bits < math.inf:
            raise ValueError(f"charge: bits must be 0 or more and finite, got {bits}.")
        with self._use() as connection, _transaction(connection):
            before = connection.execute(
                "SELECT client FROM charges WHERE subject = ? AND reference = ?",
                (subject, reference),
            ).fetchone()
            if before:
                raise ProtocolError(
                    f"{reference.hex()} was given to client {before[0]!r} before; "
                    "begin anew."
                )
            spent = _spent(connection, subject, client)
            if budget is not None and spent + bits > budget * (1 + 1e-12):
                raise ProtocolError(
                    f"client {client!r} has had {spent:,.0f} bits of this; "
                    f"{bits:,.0f} more are above the {budget:,.0f} that are allowed."
                )
            connection.execute(
                "INSERT INTO charges VALUES (?, ?, ?, ?, ?)",
                (subject, reference, client, float(bits), time.time()),
            )
            return spent + bits

    def spent(self, subject: bytes, client: str) -> float:
        """Bits that a client has had of a subject."""
        with self._use() as connection:
            return _spent(connection, subject, client)

    def take_over(self, other: "Ledger") -> None:
        """Add the charges of another ledger, all or none; those of both count once.

        Raises:
          ProtocolError: one of them cannot be used.
        """
        with other._use() as connection:
            charges = connection.execute("SELECT * FROM charges").fetchall()
        with self._use() as connection, _transaction(connection):
            connection.executemany(
                "INSERT OR IGNORE INTO charges VALUES (?, ?, ?, ?, ?)", charges
            )

    @contextlib.contextmanager
    def _use(self) -> Iterator[sqlite3.Connection]:
        """A connection for one piece of work, and SQLite's errors as ours."""
        try:
            if self._path is not None:
                with contextlib.closing(_connect(self._path)) as connection:
                    yield connection
                return
            if self._process != os.getpid():
                raise ProtocolError(
                    "this ledger lives in another process; give it a file, so that "
                    "forks share it."
                )
            with self._lock:
                yield self._memory
        except sqlite3.Error as wrong:
            raise ProtocolError(
                f"the ledger {self._path or 'in memory'} cannot be used ({wrong}); "
                "nothing was given out."
            ) from wrong


def _connect(path: Path | str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=_WAIT, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA synchronous = FULL")
    return connection


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of the block or nothing, after those that others have begun."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _begin(connection: sqlite3.Connection, path: Path | None) -> bytes:
    """The name of a ledger; a new one where nothing is yet."""
    with _transaction(connection):
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
        if tables and application != _APPLICATION:
            raise ProtocolError(f"{path} is a file of another program, not a ledger.")
        if not tables:
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            for statement in _SCHEMA.strip().rstrip(";").split(";"):
                connection.execute(statement)
            connection.execute("INSERT INTO about VALUES (?)", (os.urandom(16),))
        (name,) = connection.execute("SELECT name FROM about").fetchone()
    return bytes(name)


def _check_client(client: str) -> None:
    if not isinstance(client, str) or not client.isprintable():
        raise ValueError(f"a client's identity must be printable text, got {client!r}.")


def _spent(connection: sqlite3.Connection, subject: bytes, client: str) -> float:
    (bits,) = connection.execute(
        "SELECT COALESCE(SUM(bits), 0) FROM charges WHERE subject = ? AND client = ?",
        (subject, client),
    ).fetchone()
    return float(bits)
