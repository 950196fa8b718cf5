"""An event loop in a thread of its own, for those who have none."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class Background:
    """A loop; work that is given to it is waited for."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def wait(self, work: Coroutine[Any, Any, Result]) -> Result:
        """What the work returns; an interruption here ends it there."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def make(self, make: Callable[[], Result]) -> Result:
        """What a function makes inside the loop, for use there."""

        async def made() -> Result:
            return make()

        return self.wait(made())

    @property
    def open(self) -> bool:
        """Whether it accepts work."""
        return self._thread.is_alive()

    def close(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
