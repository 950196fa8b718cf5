"""A ledger of what a provider has given out, in bits, by subject and client.

    charge first, then answer: what is not in the ledger was never sent

A ledger is a SQLite file on a local disk. Threads, processes, forks and restarts share
it: a charge is one transaction that takes the lock first, so that the second of two
simultaneous charges sees the first. No fork inherits a connection: it is closed before
the fork, and each side opens its own. Without a file a ledger lives as long as the
object, for rehearsals.

A charge is on the disk when `charge` returns; the write takes milliseconds. Callers
that charge often charge ahead: they write the bits of many future answers to the disk
at once, and leave the charges within that allowance to the operating system. Those
survive the death of every process. After a crash of the machine everything that was
charged ahead counts as given out: the client may lose it, but never gets it twice.

While a ledger is open, part of it is in a file beside it (FILE-wal). A copy is complete
only when all processes have closed the ledger, or when SQLite's own backup made it.

Reference: https://sqlite.org/wal.html, https://sqlite.org/howtocorrupt.html (2.6:
  forks).
"""

import contextlib
import math
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator

from helix_jax.errors import AnsweredError, BudgetError, ProtocolError
from helix_jax.paths import local_path, os_errors
from helix_jax.private.forks import require_own
from helix_jax.private.ledger_file import (
    Opened,
    begin,
    boot,
    insert,
    is_at,
    open_file,
    read_name,
    transaction,
)


class Ledger:
    """Bits given out, by subject and client.

    Attributes:
      name: 16 bytes, shared by this ledger and its copies.
    """

    def __init__(self, path: str | os.PathLike | None = None):
        """Open a ledger, or create one.

        Args:
          path: the file; None keeps it in this process's memory, which forks do not
            share.

        Raises:
          ProtocolError: the file cannot be opened, or is not a ledger.
        """
        self._path = None if path is None else local_path(path, "the ledger")
        self._lock, self._process = threading.Lock(), os.getpid()
        self._open: list[Opened] = []
        self._boot, self.name = boot(), b""
        weakref.finalize(self, _close, self._open)
        if self._path is not None:
            with os_errors(self._path, "be written", ProtocolError):
                self._path.parent.mkdir(parents=True, exist_ok=True)
        with _FORKING:
            _LEDGERS.add(self)
        with self._use() as connection:
            self.name = begin(connection, self._path, self._boot)

    def charge(
        self,
        subject: bytes,
        client: str,
        bits: float,
        *,
        reference: bytes,
        budget: float | None,
        ahead: float | None = None,
    ) -> float:
        """Record an answer before it is sent.

        Args:
          subject: names what the answer is about.
          client: who receives it.
          bits: the most that it can reveal.
          reference: unique to this answer.
          budget: bits of the subject that the client may have; None for no limit.
          ahead: bits of future answers that are written to the disk with these, if
            these are not there yet; None writes every charge to the disk.

        Returns:
          Bits of the subject that the client has had, including these.

        Raises:
          ValueError: bits are negative or not finite, or the client is not printable
            text.
          AnsweredError: the reference was charged before, to any client.
          BudgetError: the budget does not allow it.
          ProtocolError: the ledger cannot be written. Nothing is charged then.
        """
        check_identity(client)
        if not 0 <= bits < math.inf:
            raise ValueError(f"charge: bits must be 0 or more and finite, got {bits}.")
        most = math.inf if budget is None else budget
        if not self._boot:  # a crash that lost charges could not be detected
            ahead = None
        with self._use() as connection:
            for synced in (True,) if ahead is None else (False, True):
                with transaction(connection, synced=synced):
                    _require_new(connection, subject, reference)
                    spent, on_disk = _totals(connection, subject, client)
                    total = spent + bits
                    if total > most * (1 + 1e-12):
                        raise BudgetError(
                            f"client {client!r} has had {spent:,.0f} bits of this; "
                            f"{bits:,.0f} more are above the {most:,.0f} that are "
                            "allowed."
                        )
                    if synced:
                        on_disk = max(on_disk, total, min(total + (ahead or 0), most))
                    if total <= on_disk:
                        charged = subject, reference, client, float(bits), time.time()
                        insert(connection, "charges", charged)
                        totals = subject, client, float(total), float(on_disk)
                        insert(connection, "totals", totals)
                        return total
        raise AssertionError("what is synced is on the disk up to the total")

    def spent(self, subject: bytes, client: str) -> float:
        """Bits that a client has had of a subject."""
        with self._use() as connection:
            return _totals(connection, subject, client)[0]

    def has(self, subject: bytes, reference: bytes) -> bool:
        """Whether an answer was charged, to any client."""
        with self._use() as connection:
            return _charged_to(connection, subject, reference) is not None

    def take_over(self, other: "Ledger") -> None:
        """Add another ledger's charges, all or none; those in both count once.

        Raises:
          ProtocolError: one of them cannot be used.
        """
        with other._use() as connection:
            charges = connection.execute("SELECT * FROM charges").fetchall()
        with self._use() as connection, transaction(connection):
            connection.executemany(
                "INSERT OR IGNORE INTO charges VALUES (?, ?, ?, ?, ?)", charges
            )
            connection.execute(
                "INSERT INTO totals SELECT subject, client, SUM(bits), SUM(bits) FROM "
                "charges WHERE true GROUP BY subject, client ON CONFLICT DO UPDATE SET "
                "bits = excluded.bits, ahead = MAX(ahead, excluded.bits)"
            )

    def close(self) -> None:
        """Close the file, which is then complete, until the next use opens it again."""
        with self._lock:
            if self._path is not None:
                _close(self._open)

    @contextlib.contextmanager
    def _use(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection for one operation, and raise SQLite's errors as ours."""
        remedy = "give it a file, which forks share"
        if self._path is None:
            require_own(self._process, "this ledger in memory", remedy)
        with self._lock:
            try:
                if not self._open:
                    self._open.append(open_file(self._path))
                    self._process = os.getpid()
                    if self.name and self.name != read_name(self._open[0].connection):
                        raise sqlite3.OperationalError("another lies in its place")
                require_own(self._process, "this ledger's connection")
                if not is_at(self._open[0], self._path):
                    raise sqlite3.OperationalError("the file was moved or removed")
                yield self._open[0].connection
            except sqlite3.Error as wrong:
                if self._path is not None:  # another file may be there by now
                    _close(self._open)
                raise ProtocolError(
                    f"the ledger {self._path or 'in memory'} cannot be used ({wrong}); "
                    "nothing was given out."
                ) from wrong


def check_identity(client: str) -> None:
    """Refuse what cannot name a client.

    Raises:
      ValueError: it is not printable text.
    """
    if not isinstance(client, str) or not client.isprintable():
        raise ValueError(f"a client's identity must be printable text, got {client!r}.")


def _close(opened: list[Opened]) -> None:
    while opened:
        opened.pop().connection.close()


def _require_new(
    connection: sqlite3.Connection, subject: bytes, reference: bytes
) -> None:
    before = _charged_to(connection, subject, reference)
    if before is not None:
        raise AnsweredError(
            f"{reference.hex()} was already given to client {before!r}; start anew."
        )


def _charged_to(
    connection: sqlite3.Connection, subject: bytes, reference: bytes
) -> str | None:
    found = connection.execute(
        "SELECT client FROM charges WHERE subject = ? AND reference = ?",
        (subject, reference),
    ).fetchone()
    return found and found[0]


def _totals(
    connection: sqlite3.Connection, subject: bytes, client: str
) -> tuple[float, float]:
    """Bits that were charged, and the total that is on the disk, with those ahead."""
    found = connection.execute(
        "SELECT bits, ahead FROM totals WHERE subject = ? AND client = ?",
        (subject, client),
    ).fetchone()
    return found or (0.0, 0.0)


_LEDGERS: "weakref.WeakSet[Ledger]" = weakref.WeakSet()
_FORKING = threading.Lock()
_HELD: list[threading.Lock] = []


def _before_fork() -> None:
    """Close every connection, and let no charge be under way, before a fork."""
    _FORKING.acquire()
    for ledger in list(_LEDGERS):
        ledger._lock.acquire()
        _HELD.append(ledger._lock)
        if ledger._path is not None:
            _close(ledger._open)


def _after_fork() -> None:
    while _HELD:
        _HELD.pop().release()
    _FORKING.release()


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
)
