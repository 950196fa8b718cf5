"""Limits of each client: at once, in a second and in a day.

Rates go by the monotonic clock, which does not jump. Days are the state's, see there.
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
_WRITE_SECONDS = 5.0  # between writings of usage
_REMEMBERED = 10_000
_SHARE = 0.25  # of the memory, for one client's bodies


class Meter:
    """One client's use.

    Attributes:
      requests, uploads: under way.
      held: bytes of memory for bodies.
    """

    def __init__(self, limits: Limits, used: int):
        self.limits, self.requests, self.uploads, self.held = limits, 0, 0, 0
        self._left, self._at = 2 * limits.requests_per_second, time.monotonic()
        self.used_bytes, self.new_bytes, self.new_requests = used, 0, 0

    def take(self) -> None:
        """Count one request.

        Raises:
          Refusal: it is one too many.
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
    """All clients' use, and the memory of all requests under way."""

    def __init__(
        self, state: State, limits_of: Callable[[str], Limits], memory_bytes: float
    ):
        """Take the state, identity -> Limits, and the bytes for bodies."""
        self._state, self._limits_of = state, limits_of
        self._memory, self.held = memory_bytes, 0
        self._meters: OrderedDict[str, Meter] = OrderedDict()
        self._written, self._day = time.monotonic(), today()

    def of(self, identity: str) -> Meter:
        """A client's."""
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
        """A request of a client, while it is under way.

        Raises:
          Refusal: the client has too many, or the day's bytes are used up.
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
        """Room for so many bytes of a client, while they are in memory.

        One client has a quarter of it, or one body: it may announce what never comes.

        Raises:
          Refusal: there is none now.
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
        """Bring to the state what was counted since the last time.

        On a full disk that waits: it bounds load, and what needs no disk is served.
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
            LOG.error("usage is not written: %s", error)
        self._written = time.monotonic()

    def _write_now_and_then(self) -> None:
        day = today()
        if time.monotonic() - self._written > _WRITE_SECONDS or day != self._day:
            self.write()
        if day != self._day:
            self._day = day
            for identity, meter in self._meters.items():
                meter.used_bytes = self._state.usage(identity, day)[1]
