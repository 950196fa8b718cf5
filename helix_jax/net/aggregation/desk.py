"""One session inside the server: wakes those who wait, closes rounds that are due."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from helix_jax.errors import HelixError, ProtocolError
from helix_jax.net.aggregation.rounds import Rounds
from helix_jax.net.refusals import Refusal
from helix_jax.private.aggregation.messages import Kind

LOG = logging.getLogger(__name__)
LOOK_SECONDS = 1.0  # between two looks whether the service ends
RETRY_SECONDS = 5.0  # after the disk refused to close a round
_T = TypeVar("_T")


class Deadlines(NamedTuple):
    """How long rounds wait for silos, in seconds.

    Attributes:
      join: the first round, from the first silo's keys.
      each: every later one, from its beginning or the start of the service.
    """

    join: float = 3600.0
    each: float = 300.0


DEADLINES = Deadlines()


class Desk:
    """What requests of one session ask.

    Attributes:
      rounds: of the session.
    """

    def __init__(self, rounds: Rounds, deadlines: Deadlines):
        """Nothing runs before `run`."""
        self.rounds = rounds
        self._deadlines = deadlines
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Close rounds as they fall due, until the session is over."""
        while True:
            try:
                kind = await asyncio.to_thread(lambda: self.rounds.open_round)
                if kind is None:
                    return
                await self._close_when_due(kind)
            except HelixError as wrong:
                LOG.error("a round could not be closed: %s", wrong)
                await asyncio.sleep(RETRY_SECONDS)

    async def close_now(self) -> None:
        """Close the open round, if it has begun, without waiting for others."""

        def close() -> bool:
            kind = self.rounds.open_round
            if kind is None or not self.rounds.begun:
                return False
            self.rounds.close(kind, due=True)
            return True

        if await self.in_thread(close):
            self._wake()

    async def take(self, kind: Kind, silo: int, file: Path | None, digest: str) -> None:
        """As `Rounds.take`; `run` closes the round if it was the last message."""
        await self.in_thread(self.rounds.take, kind, silo, file, digest)
        self._wake()

    async def wait(
        self, ask: Callable[[], _T | None], seconds: float, ending: Callable[[], bool]
    ) -> _T | None:
        """What is asked for, as soon as it is there; None if it is not there in time.

        Args:
          ask: gives None while it is not there.
          seconds: to wait.
          ending: whether waiting is to stop; checked now and then.

        Raises:
          Refusal: what `ask` raises, or the service ends.
        """
        found = await self.in_thread(ask)
        until = asyncio.get_running_loop().time() + seconds

        def there() -> bool:
            nonlocal found
            found = ask()
            return found is not None

        while found is None and asyncio.get_running_loop().time() < until:
            if ending():
                raise Refusal("draining", after=1)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(seconds, LOOK_SECONDS)):
                    await self._until(there)
        return found

    async def in_thread(self, ask: Callable[..., _T], *args: object) -> _T:
        """The result of a call that may wait for the disk.

        Raises:
          Refusal: what it refuses, or the disk does.
        """
        try:
            return await asyncio.to_thread(ask, *args)
        except ProtocolError as wrong:
            raise Refusal("busy", f"the disk: {wrong}") from wrong

    async def _until(self, there: Callable[[], bool]) -> None:
        while True:
            changed = self._changed  # before asking, so that no change is missed
            if await self.in_thread(there):
                return
            await changed.wait()

    async def _close_when_due(self, kind: Kind) -> None:
        def is_over() -> bool:
            return self.rounds.close(kind, due=False) or self.rounds.open_round != kind

        if kind is Kind.KEYS:
            await self._until(lambda: self.rounds.begun)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._seconds(kind)):
                await self._until(is_over)
        await self.in_thread(lambda: self.rounds.close(kind, due=True))
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _seconds(self, kind: Kind) -> float:
        return self._deadlines.join if kind is Kind.KEYS else self._deadlines.each
