"""The service's workers: starting, assigning and replacing them.

What is bound to one worker (a fit, a conversation about labels) goes to the same place
each time.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from helix_jax.net.family import Family
from helix_jax.net.frames import place_of
from helix_jax.net.refusals import Refusal
from helix_jax.net.settings import ServiceSettings
from helix_jax.net.worker_place import Place

LOG = logging.getLogger(__name__)
_PAUSES = (0.0, 1.0, 5.0, 30.0)  # before a worker is replaced, by consecutive failures


class Pool:
    """All workers.

    Attributes:
      places: of them.
    """

    def __init__(self, settings: ServiceSettings):
        self._settings = settings
        self._family = Family(settings.state)
        self.places = [
            Place(number, settings, self._family) for number in range(settings.workers)
        ]
        self._keepers: list[asyncio.Task] = []
        self._closing = False

    @property
    def ready(self) -> bool:
        """Whether a worker serves."""
        return any(place.about is not None for place in self.places)

    @property
    def about(self) -> dict[str, Any]:
        """The public description of what is served.

        Raises:
          Refusal: no worker serves yet.
        """
        for place in self.places:
            if place.about is not None:
                return place.about
        raise Refusal("busy", "no worker serves yet", after=1)

    async def start(self) -> None:
        """Start the workers, the first alone, so that what it compiles is kept.

        Raises:
          Refusal: the first says why it cannot serve.
        """
        await self._family.begin()
        await self.places[0].start()
        self._keepers = [asyncio.create_task(self._keep(p)) for p in self.places]

    async def _keep(self, place: Place) -> None:
        """Start a worker, and another whenever one has ended."""
        failures = 0
        while not self._closing:
            if place.about is None:
                await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
                try:
                    async with place.turn:
                        await place.start()
                    failures = 0
                except (Refusal, OSError) as error:
                    failures += 1
                    LOG.error("worker %d cannot start: %s", place.number, error)
                    place.kill()
                    continue
            status = await place.ended()
            if self._closing:
                return
            LOG.error(
                "worker %d (process %s) ended with status %d; it is replaced",
                place.number,
                place.pid,
                status,
            )
            place.kill()
            place.restarts += 1

    def place_for(self, bound: bytes | None) -> Place:
        """The place of what is bound to one, or the one with the fewest waiting."""
        if bound is not None:
            return self.places[place_of(bound, len(self.places))]
        serving = [place for place in self.places if place.about is not None]
        return min(serving or self.places, key=lambda place: place.waiting)

    @contextlib.asynccontextmanager
    async def turn(self, bound: bytes | None = None) -> AsyncIterator[Place]:
        """A place to oneself.

        Raises:
          Refusal: too many wait.
        """
        if sum(place.waiting for place in self.places) >= self._settings.waiting:
            raise Refusal("busy", "too many requests wait for a worker", after=1)
        place = self.place_for(bound)
        place.waiting += 1
        try:
            async with place.taken():
                yield place
        finally:
            place.waiting -= 1

    async def close(self) -> None:
        """End all workers."""
        self._closing = True
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*(place.close() for place in self.places))
        self._family.end()
