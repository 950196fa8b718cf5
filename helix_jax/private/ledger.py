"""What a provider has given out, in bits, by what it was about and to whom.

    charge first, answer then: what is not in the ledger has not left

A ledger is a SQLite file in write-ahead mode. Threads, processes and restarts share it:
a charge is one transaction that begins with the lock, so that of two at once the second
sees the first. Without a file it lives as long as the object, for rehearsals.

Reference: https://sqlite.org/wal.html, https://sqlite.org/lang_transaction.html.
"""

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from helix_jax.errors import ProtocolError
from helix_jax.paths import local_path, os_errors

_WAIT = 30.0  # seconds for other processes' charges
_SCHEMA = """
CREATE TABLE IF NOT EXISTS charges (
  subject BLOB NOT NULL,
  client TEXT NOT NULL,
  reference BLOB NOT NULL,
  bits REAL NOT NULL,
  seconds REAL NOT NULL,
  PRIMARY KEY (subject, client, reference)
) WITHOUT ROWID
"""


class Ledger:
    """Bits given out, by subject and client."""

    def __init__(self, path: str | os.PathLike | None = None):
        """Open a ledger, or begin one.

        Args:
          path: the file; None keeps it in this process, where a fork does not find it.

        Raises:
          ProtocolError: it cannot be opened, or is something else.
        """
        self._path = None if path is None else local_path(path, "the ledger")
        self._lock, self._own = threading.Lock(), threading.local()
        self._process = os.getpid()
        if self._path is None:
            self._memory = _open(":memory:")
            return
        with os_errors(self._path, "be written", ProtocolError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._use():
            pass

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
          ProtocolError: the reference was charged before, the budget does not allow it,
            or the ledger cannot be written. Nothing is charged then.
        """
        with self._use() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                where = (subject, client)
                if connection.execute(
                    "SELECT 1 FROM charges WHERE subject = ? AND client = ? "
                    "AND reference = ?",
                    (*where, reference),
                ).fetchone():
                    raise ProtocolError(
                        f"{reference.hex()} was given to client {client!r} before; "
                        "begin anew."
                    )
                spent = _spent(connection, *where)
                if budget is not None and spent + bits > budget * (1 + 1e-12):
                    raise ProtocolError(
                        f"client {client!r} has had {spent:,.0f} bits of this; "
                        f"{bits:,.0f} more are above the {budget:,.0f} that are "
                        "allowed."
                    )
                connection.execute(
                    "INSERT INTO charges VALUES (?, ?, ?, ?, ?)",
                    (*where, reference, float(bits), time.time()),
                )
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
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
        with self._use() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT OR IGNORE INTO charges VALUES (?, ?, ?, ?, ?)", charges
            )
            connection.execute("COMMIT")

    @contextlib.contextmanager
    def _use(self) -> Iterator[sqlite3.Connection]:
        """A connection for this thread of this process, and SQLite's errors as ours."""
        try:
            if self._path is not None:
                yield self._connection()
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

    def _connection(self) -> sqlite3.Connection:
        """One for each thread and process: SQLite forbids to carry it across a fork."""
        if getattr(self._own, "process", None) != os.getpid():
            self._own.connection = _open(self._path)
            self._own.process = os.getpid()
        return self._own.connection


def _open(path: Path | str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=_WAIT, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(_SCHEMA)
    return connection


def _spent(connection: sqlite3.Connection, subject: bytes, client: str) -> float:
    (bits,) = connection.execute(
        "SELECT COALESCE(SUM(bits), 0) FROM charges WHERE subject = ? AND client = ?",
        (subject, client),
    ).fetchone()
    return float(bits)
