"""The file of a service's tables and its ledger."""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from helix_jax.errors import RunError
from helix_jax.paths import os_errors
from helix_jax.private import Ledger
from helix_jax.private.ledger_file import transaction

FILE = "state.db"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
  key BLOB PRIMARY KEY,
  identity TEXT NOT NULL,
  profile TEXT NOT NULL,
  bundle BLOB NOT NULL,
  seconds REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fits (
  fit BLOB PRIMARY KEY,
  identity TEXT NOT NULL,
  rows TEXT NOT NULL,
  key BLOB NOT NULL,
  seconds REAL NOT NULL,
  ended INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS usage (
  identity TEXT NOT NULL,
  day INTEGER NOT NULL,
  requests INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  PRIMARY KEY (identity, day)
) WITHOUT ROWID;
"""
_WAIT = 30.0  # seconds for other processes


class StateFile:
    """The open file.

    Attributes:
      folder: of the state.
      ledger: in the same file.
    """

    def __init__(self, folder: str | os.PathLike):
        """Open the file, or create it.

        Raises:
          RunError: the folder cannot be used, or others may read it.
          ProtocolError: the file is not a ledger.
        """
        self.folder = Path(folder)
        with os_errors(folder, "be used as the service's state", RunError):
            self.folder.mkdir(0o700, parents=True, exist_ok=True)
            if self.folder.stat().st_mode & 0o077:
                raise RunError(
                    f"{folder} holds secrets, and others may read it; chmod 700 it."
                )
        self.ledger = Ledger(self.folder / FILE)  # first: it checks the file
        self._lock = threading.Lock()
        with os_errors(folder, "be used as the service's state", RunError):
            self._connection = sqlite3.connect(
                self.folder / FILE,
                timeout=_WAIT,
                isolation_level=None,
                check_same_thread=False,
            )
            self._connection.execute("PRAGMA synchronous = FULL")
            for statement in _SCHEMA.strip().rstrip(";").split(";"):
                self._connection.execute(statement)

    def close(self) -> None:
        """Close the file, leaving it complete."""
        self._connection.close()
        self.ledger.close()

    @contextlib.contextmanager
    def _transaction(self, *, synced: bool = True) -> Iterator[sqlite3.Connection]:
        with self._lock, transaction(self._connection, synced=synced):
            yield self._connection
