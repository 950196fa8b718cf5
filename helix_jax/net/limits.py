"""Limits of each client: concurrent, per second and per day.

Rates use the monotonic clock, which does not jump. Days are those of `state.today`.
"""

import contextlib
import logging
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator

from helix_jax.net.refusals import Refusal
from helix_jax.net.settings import Limits
from helix_jax.net.state import State, today

LOG = logging.getLogger(__name__)
_WRITE_SECONDS = 5.0  # between writes of usage
_REMEMBERED = 10_000
_SHARE = 0.25  # of the memory, for one client's bodies


class Meter:
    """One client's usage.

    Attributes:
      requests, uploads: number in progress.
      held: bytes of memory for bodies.
    """

    def __init__(self, limits: Limits, used: int):
        self.limits, self.requests, self.uploads, self.held = limits, 0, 0, 0
        self._left, self._at = 2 * limits.requests_per_second, time.monotonic()
        self.used_bytes, self.new_bytes, self.new_requests = used, 0, 0

    def take(self) -> None:
        """Count one request.

        Raises:
          Refusal: the client exceeds its requests per second or bytes per day.
        """
        now, rate = time.monotonic(), self.limits.requests_per_second
        self._left = min(2 * rate, self._left + (now - self._at) * rate)
        self._at = now
        if self._left < 1:
            after = (1 - self._left) / rate
            raise Refusal("quota", "requests per second", after=after)
        if self.used_bytes >= self.limits.bytes_per_day:
            raise Refusal("quota", f"{self.used_bytes} bytes today", after=600)
        self._left -= 1
        self.new_requests += 1

    def add(self, size: int) -> None:
        """Count bytes."""
        self.used_bytes += size
        self.new_bytes += size


class Meters:
    """All clients' usage, and the memory of all requests in progress."""

    def __init__(
        self, state: State, limits_of: Callable[[str], Limits], memory_bytes: float
    ):
        """Take the state, identity -> Limits, and the bytes for bodies."""
        self._state, self._limits_of = state, limits_of
        self._memory, self.held = memory_bytes, 0
        self._meters: OrderedDict[str, Meter] = OrderedDict()
        self._written, self._day = time.monotonic(), today()

    def of(self, identity: str) -> Meter:
        """The meter of a client."""
        self._write_now_and_then()
        meter = self._meters.get(identity)
        if meter is None:
            used = self._state.usage(identity, self._day)[1]
            meter = self._meters[identity] = Meter(self._limits_of(identity), used)
            while len(self._meters) > _REMEMBERED:
                self.write()
                self._meters.popitem(last=False)
        return meter

    @contextlib.contextmanager
    def request(self, identity: str, *, upload: bool) -> Iterator[Meter]:
        """Count a request of a client while it is in progress.

        Raises:
          Refusal: the client has too many, or has used up its bytes per day.
        """
        meter = self.of(identity)
        meter.take()
        if meter.requests >= meter.limits.requests_at_once:
            raise Refusal("quota", "requests at once", after=0.1)
        if upload and meter.uploads >= meter.limits.uploads_at_once:
            raise Refusal("quota", "uploads at once", after=0.5)
        meter.requests += 1
        meter.uploads += upload
        try:
            yield meter
        finally:
            meter.requests -= 1
            meter.uploads -= upload

    @contextlib.contextmanager
    def memory(self, size: int, meter: Meter) -> Iterator[None]:
        """Reserve room for bytes of a client while they are in memory.

        One client gets at most a quarter of the memory, or one body, since it may
        announce bytes that never arrive.

        Raises:
          Refusal: there is not enough room now.
        """
        if self.held + size > self._memory:
            raise Refusal("busy", f"{self.held} bytes are under way", after=1)
        if meter.held and meter.held + size > _SHARE * self._memory:
            raise Refusal("quota", f"{meter.held} bytes are under way", after=1)
        self.held += size
        meter.held += size
        try:
            yield
        finally:
            self.held -= size
            meter.held -= size

    def write(self) -> None:
        """Write what was counted since the last write to the state.

        On a full disk the write is postponed: usage only limits load, and requests that
        need no disk are still served.
        """
        try:
            for identity, meter in self._meters.items():
                if meter.new_requests:
                    self._state.add_usage(
                        identity,
                        self._day,  # when it was counted
                        requests=meter.new_requests,
                        size=meter.new_bytes,
                    )
                    meter.new_requests = meter.new_bytes = 0
        except sqlite3.OperationalError as error:
            LOG.error("usage could not be written: %s", error)
        self._written = time.monotonic()

    def _write_now_and_then(self) -> None:
        day = today()
        if time.monotonic() - self._written > _WRITE_SECONDS or day != self._day:
            self.write()
        if day != self._day:
            self._day = day
            for identity, meter in self._meters.items():
                meter.used_bytes = self._state.usage(identity, day)[1]
