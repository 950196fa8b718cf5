"""The SQLite file of a ledger: its tables, its transactions, what is on the disk.

Reference: https://sqlite.org/wal.html, https://sqlite.org/pragma.html.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from helix_jax.errors import ProtocolError

_WAIT = 30.0  # seconds for other processes' charges
_APPLICATION = 0x48454C58  # "HELX", SQLite's application_id
_VERSION = 2  # of the tables
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_SCHEMA = """
CREATE TABLE charges (
  subject BLOB NOT NULL,
  reference BLOB NOT NULL,
  client TEXT NOT NULL,
  bits REAL NOT NULL,
  seconds REAL NOT NULL,
  PRIMARY KEY (subject, reference)
) WITHOUT ROWID;
CREATE TABLE totals (
  subject BLOB NOT NULL,
  client TEXT NOT NULL,
  bits REAL NOT NULL,
  ahead REAL NOT NULL,
  PRIMARY KEY (subject, client)
) WITHOUT ROWID;
CREATE TABLE about (name BLOB NOT NULL, boot TEXT NOT NULL);
"""  # totals: sums of charges, and the totals that are on the disk


class Opened(NamedTuple):
    """A connection, and the file that it was opened to; None in memory."""

    connection: sqlite3.Connection
    file: os.stat_result | None


def open_file(path: Path | None) -> Opened:
    """Open a new connection.

    Raises:
      sqlite3.Error: the file cannot be opened.
    """
    connection = sqlite3.connect(
        path or ":memory:", timeout=_WAIT, isolation_level=None, check_same_thread=False
    )
    return Opened(connection, None if path is None else path.stat())


def read_name(connection: sqlite3.Connection) -> bytes:
    """The name of a connection's ledger.

    Raises:
      sqlite3.Error: there is none.
    """
    return bytes(connection.execute("SELECT name FROM about").fetchone()[0])


def is_at(opened: Opened, path: Path | None) -> bool:
    """Whether the file that was opened is still the one at its path."""
    try:
        if path is None or opened.file is None:
            return path is None
        return os.path.samestat(opened.file, path.stat())
    except OSError:
        return False


def insert(connection: sqlite3.Connection, table: str, row: tuple) -> None:
    """Add a row, or replace the one with the same key."""
    places = ", ".join("?" * len(row))
    connection.execute(f"INSERT OR REPLACE INTO {table} VALUES ({places})", row)


@contextlib.contextmanager
def transaction(
    connection: sqlite3.Connection, *, synced: bool = True
) -> Iterator[None]:
    """Commit all of the block or nothing, after transactions that began earlier."""
    connection.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def begin(connection: sqlite3.Connection, path: Path | None, running: str) -> bytes:
    """The name of a ledger, which is created if the file is empty."""
    with transaction(connection):
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
        if tables and application != _APPLICATION:
            raise ProtocolError(f"{path} is a file of another program, not a ledger.")
        if tables and version != _VERSION:
            raise ProtocolError(
                f"{path} is a ledger of version {version}, not {_VERSION}; use the "
                "release of helix_jax that wrote it."
            )
        if not tables:
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {_VERSION}")
            for statement in _SCHEMA.strip().rstrip(";").split(";"):
                connection.execute(statement)
            insert(connection, "about", (os.urandom(16), running))
        name, before = connection.execute("SELECT name, boot FROM about").fetchone()
        if before != running:
            _count_ahead(connection, running)
    if path is not None:
        _log_ahead(connection)
    return bytes(name)


def _log_ahead(connection: sqlite3.Connection) -> None:
    """Turn on write-ahead logging; another process may be doing so right now."""
    for _ in range(100):
        with contextlib.suppress(sqlite3.OperationalError):
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode == "wal":
                return
            break
        time.sleep(_WAIT / 100)
    raise sqlite3.OperationalError(
        "it is locked, or its disk has no write-ahead logging; use a local disk"
    )


def _count_ahead(connection: sqlite3.Connection, running: str) -> None:
    """After a reboot, count all that was charged ahead: it may have been given out."""
    connection.execute(
        "INSERT INTO charges SELECT subject, CAST(? || hex(randomblob(16)) AS BLOB), "
        "client, ahead - bits, ? FROM totals WHERE ahead > bits",
        (f"lost before {running}: ", time.time()),
    )
    connection.execute("UPDATE totals SET bits = MAX(bits, ahead)")
    connection.execute("UPDATE about SET boot = ?", (running,))


def boot() -> str:
    """The id of the machine's current boot; empty where the system gives none."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""
