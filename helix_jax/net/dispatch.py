"""Requests on their way to workers, and the keys that workers must know first."""

from typing import Any

from helix_jax.net.frames import Frame
from helix_jax.net.pool import Pool
from helix_jax.net.refusals import FORGOTTEN, Refusal
from helix_jax.net.state import State
from helix_jax.net.worker_place import Place


class Dispatch:
    """Passes requests to workers."""

    def __init__(self, pool: Pool, state: State, operation_seconds: float):
        """Take the workers, the known keys, and the seconds that a request may take."""
        self._pool, self._state, self._seconds = pool, state, operation_seconds

    async def run(
        self,
        head: dict[str, Any],
        body: bytes = b"",
        *,
        key: bytes | None = None,
        bound: bytes | None = None,
    ) -> Frame:
        """Have a worker do something, once it knows the key.

        Args:
          head, body: of the frame.
          key: a registered key that the worker must know; None for none.
          bound: what is bound to one worker; None takes the one with fewest waiting.

        Raises:
          Refusal: the worker's, or too many wait, or it was lost.
        """
        async with self._pool.turn(bound) as place:
            if key is not None:
                await self._teach(place, key)
            asked = Frame(head, body)
            try:
                return await place.exchange(asked, seconds=self._seconds)
            except Refusal as refusal:
                if key is None or refusal.code != FORGOTTEN:
                    raise
            place.learnt.discard(key.hex())
            await self._teach(place, key)
            return await place.exchange(asked, seconds=self._seconds)

    async def _teach(self, place: Place, key: bytes) -> None:
        if key.hex() in place.learnt:
            return
        known = self._state.key(key)
        if known is None:
            raise Refusal("not_found", f"key {key.hex()} is no longer known")
        await place.exchange(
            Frame({"op": "key", "profile": known.profile}, known.bundle),
            seconds=self._seconds,
        )
        place.learnt.add(key.hex())

    def require_own_key(self, identity: str, key: bytes) -> None:
        """Refuse a key that is not this client's.

        Raises:
          Refusal: it belongs to another client, which looks the same as an unknown key.
        """
        owner = self._state.owner(key)
        if owner != identity:
            raise Refusal("not_found", f"key {key.hex()} of {owner} for {identity}")
