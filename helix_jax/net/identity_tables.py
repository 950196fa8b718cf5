"""The tables of tokens and of revoked certificates, in a ledger's file."""

import sqlite3
from pathlib import Path

from helix_jax.errors import ProtocolError
from helix_jax.private.ledger_file import Opened, open_file

_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS identities_version (version INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS tokens (
  id TEXT PRIMARY KEY,
  hash BLOB NOT NULL,
  identity TEXT NOT NULL,
  made REAL NOT NULL,
  until REAL NOT NULL,
  revoked REAL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS revoked_certificates (
  name TEXT PRIMARY KEY,
  seconds REAL NOT NULL
) WITHOUT ROWID;
"""  # times: seconds since 1970; hash: SHA-256 of the token


def begin_tables(connection: sqlite3.Connection, path: Path) -> None:
    """Create missing tables, within a transaction that has begun.

    Raises:
      ProtocolError: the tables are those of another release.
    """
    for statement in _SCHEMA.strip().rstrip(";").split(";"):
        connection.execute(statement)
    rows = connection.execute("SELECT version FROM identities_version").fetchall()
    if not rows:
        connection.execute("INSERT INTO identities_version VALUES (?)", (_VERSION,))
    elif rows != [(_VERSION,)]:
        raise ProtocolError(
            f"{path} holds tokens of version {rows[0][0]}, not {_VERSION}; use the "
            "release of helix_jax that wrote it."
        )


def open_tables(path: Path) -> Opened:
    """A connection to an existing file.

    Raises:
      sqlite3.Error: the file does not exist.
    """
    if not path.is_file():
        raise sqlite3.OperationalError("the file no longer exists")
    return open_file(path)
