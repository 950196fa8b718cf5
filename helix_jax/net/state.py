"""The service's records of clients, with the ledger in one SQLite file.

    keys    owner and bundle of each key: a restarted service knows its clients
    fits    owner and rows of each fit
    usage   bytes and requests of a client, by day

Keys and fits are on disk when a call returns. Usage is written now and then, and counts
since the last write are lost with the process: usage limits load, not disclosure.
"""

import os
import sqlite3
import time
from typing import NamedTuple

from helix_jax.net.refusals import Refusal
from helix_jax.net.state_file import StateFile

_REMEMBERED = 100_000  # owners of keys
DAY = 86_400.0


class KnownKey(NamedTuple):
    """A registered key."""

    identity: str
    profile: str
    bundle: bytes


class KnownFit(NamedTuple):
    """A fit that was begun."""

    identity: str
    rows: str
    key: bytes
    ended: bool


class State(StateFile):
    """The tables of a service.

    Attributes:
      folder: of the state.
      ledger: in the same file.
    """

    def __init__(self, folder: str | os.PathLike):
        """Open the state, see `StateFile`."""
        super().__init__(folder)
        self._owners: dict[bytes, str] = {}

    def add_key(
        self, key: bytes, identity: str, profile: str, bundle: bytes, *, most: int
    ) -> None:
        """Record the owner of a key: the first client to bring it.

        Raises:
          Refusal: another client owns it, or all of the client's `most` keys belong to
            open fits.
        """
        with self._transaction() as connection:
            owner = self.owner(key)
            if owner is not None:
                if owner != identity:
                    raise Refusal("forbidden", f"key {key.hex()} is {owner}'s")
                return
            (count,) = connection.execute(
                "SELECT COUNT(*) FROM keys WHERE identity = ?", (identity,)
            ).fetchone()
            if count >= most:
                self._drop_oldest_key(connection, identity, count)
            connection.execute(
                "INSERT INTO keys VALUES (?, ?, ?, ?, ?)",
                (key, identity, profile, bundle, time.time()),
            )

    def _drop_oldest_key(
        self, connection: sqlite3.Connection, identity: str, count: int
    ) -> None:
        """Make room, since each process and each fit of a client makes a key."""
        found = connection.execute(
            "SELECT key FROM keys WHERE identity = ? AND key NOT IN "
            "(SELECT key FROM fits WHERE ended = 0) ORDER BY seconds LIMIT 1",
            (identity,),
        ).fetchone()
        if found is None:
            raise Refusal("quota", f"{identity} has {count} keys of open fits")
        connection.execute("DELETE FROM keys WHERE key = ?", found)
        self._owners.pop(found[0], None)

    def key(self, key: bytes) -> KnownKey | None:
        """A registered key."""
        found = self._connection.execute(
            "SELECT identity, profile, bundle FROM keys WHERE key = ?", (key,)
        ).fetchone()
        return found and KnownKey(*found)

    def owner(self, key: bytes) -> str | None:
        """The owner of a key, the same as long as it is registered; None if unknown."""
        found = self._owners.get(key)
        if found is None:
            row = self._connection.execute(
                "SELECT identity FROM keys WHERE key = ?", (key,)
            ).fetchone()
            if row is None:
                return None
            if len(self._owners) >= _REMEMBERED:
                self._owners.clear()
            found = self._owners[key] = row[0]
        return found

    def begin_fit(
        self,
        fit: bytes,
        identity: str,
        rows: str,
        key: bytes,
        *,
        most: float,
        open_fits: float,
    ) -> KnownFit:
        """Record a fit, once.

        Raises:
          Refusal: the fit is another client's, was begun with other rows or another
            key, or has ended; or the client has begun `most` fits in 24 hours, or has
            `open_fits` open ones.
        """
        with self._transaction() as connection:
            known, now = self.fit(fit), time.time()
            if known is not None:
                if known[:3] != (identity, rows, key) or known.ended:
                    raise Refusal("conflict", f"fit {fit.hex()} is {known}")
                return known
            # If the clock went back, fits in the future count too.
            (count,) = connection.execute(
                "SELECT COUNT(*) FROM fits WHERE identity = ? AND seconds > ?",
                (identity, now - DAY),
            ).fetchone()
            if count >= most:
                raise Refusal("quota", f"{identity} began {count} fits", after=DAY)
            (count,) = connection.execute(
                "SELECT COUNT(*) FROM fits WHERE identity = ? AND ended = 0",
                (identity,),
            ).fetchone()
            if count >= open_fits:
                raise Refusal("quota", f"{identity} has {count} open fits", after=DAY)
            connection.execute(
                "INSERT INTO fits VALUES (?, ?, ?, ?, ?, 0)",
                (fit, identity, rows, key, now),
            )
            return KnownFit(identity, rows, key, False)

    def fit(self, fit: bytes) -> KnownFit | None:
        """A fit that was begun."""
        found = self._connection.execute(
            "SELECT identity, rows, key, ended FROM fits WHERE fit = ?", (fit,)
        ).fetchone()
        return found and KnownFit(*found)._replace(ended=bool(found[3]))

    def abandoned_fits(self, seconds: float) -> list[bytes]:
        """Fits that were begun more than `seconds` ago and never ended."""
        found = self._connection.execute(
            "SELECT fit FROM fits WHERE ended = 0 AND seconds < ?",
            (time.time() - seconds,),
        )
        return [fit for (fit,) in found]

    def end_fit(self, fit: bytes) -> None:
        """Record that a fit has ended."""
        with self._transaction() as connection:
            connection.execute("UPDATE fits SET ended = 1 WHERE fit = ?", (fit,))

    def ended_fits(self) -> list[bytes]:
        """All fits that have ended."""
        found = self._connection.execute("SELECT fit FROM fits WHERE ended = 1")
        return [fit for (fit,) in found]

    def add_usage(self, identity: str, day: int, *, requests: int, size: int) -> None:
        """Add requests and bytes of a client to a day, numbered from 1970."""
        with self._transaction(synced=False) as connection:
            connection.execute(
                "INSERT INTO usage VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                "requests = requests + excluded.requests, "
                "bytes = bytes + excluded.bytes",
                (identity, day, requests, size),
            )

    def usage(self, identity: str, day: int) -> tuple[int, int]:
        """Requests and bytes of a client on a day, as far as they were written."""
        found = self._connection.execute(
            "SELECT requests, bytes FROM usage WHERE identity = ? AND day = ?",
            (identity, day),
        ).fetchone()
        return found or (0, 0)


def today() -> int:
    """Days since 1970, by the system clock."""
    return int(time.time() // DAY)
