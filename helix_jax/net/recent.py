"""Answers of the last minutes, for clients whose connection broke before the answer.

Repeated bytes get the same answer: no second mask, no second charge.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

SECONDS = 300.0
BYTES = 128_000_000


class RecentAnswers:
    """Answers by a hash of client and request."""

    def __init__(
        self,
        on_repeat: Callable[[], object] = lambda: None,
        *,
        seconds: float = SECONDS,
        most_bytes: int = BYTES,
    ):
        """Keep nothing yet; `on_repeat` is called for each answer given again."""
        self._on_repeat = on_repeat
        self._seconds, self._most, self._held = seconds, most_bytes, 0
        self._kept: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        self._asked: dict[bytes, asyncio.Future] = {}

    async def once(self, name: bytes, make: Callable[[], Awaitable[bytes]]) -> bytes:
        """The answer of a name: a kept one, one that is being made, or one made now."""
        while name in self._asked:
            await asyncio.wait([self._asked[name]])
        if (known := self.get(name)) is not None:
            self._on_repeat()
            return known
        mine = self._asked[name] = asyncio.get_running_loop().create_future()
        try:
            found = await make()
            self.keep(name, found)
            return found
        finally:
            del self._asked[name]
            mine.set_result(None)

    @staticmethod
    def name(identity: str, path: str, body: bytes) -> bytes:
        """Of a request."""
        begin = hashlib.sha256(f"{identity}\0{path}\0".encode())
        begin.update(body)
        return begin.digest()

    def get(self, name: bytes) -> bytes | None:
        """An answer that is still kept."""
        self._forget()
        found = self._kept.get(name)
        return found and found[1]

    def keep(self, name: bytes, answer: bytes) -> None:
        """Keep an answer, in place of the oldest if there is no room."""
        self._held += len(answer)
        self._kept[name] = time.monotonic(), answer
        self._forget()

    def _forget(self) -> None:
        oldest = time.monotonic() - self._seconds
        while self._kept:
            name, (at, answer) = next(iter(self._kept.items()))
            if at >= oldest and self._held <= self._most:
                return
            del self._kept[name]
            self._held -= len(answer)
