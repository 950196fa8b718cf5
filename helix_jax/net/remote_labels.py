"""Labels of a provider's heads: a conversation of two rounds, one at a time."""

import asyncio

import numpy as np

from helix_jax.net.lost_answers import until_answered
from helix_jax.net.transport import ServiceError, Transport
from helix_jax.private import Client, LabelClient, Layer


class RemoteLabels:
    """The conversations of one connection, by head."""

    def __init__(self, transport: Transport):
        """Begin none yet."""
        self._transport, self._turn = transport, asyncio.Lock()
        self._sides: dict[str, LabelClient] = {}

    async def ask(
        self, head: str, layer: Layer, client: Client, row: np.ndarray
    ) -> np.ndarray:
        """The label of one row; a conversation that was lost starts again.

        Args:
          head: its name.
          layer: as the provider offers it.
          client: whose key is registered there.
          row: [d] real.

        Returns:
          [] int.

        Raises:
          ServiceError: refused, or not reached.
        """

        async def attempt() -> np.ndarray:
            try:
                return await self._converse(f"/v1/heads/{head}", layer, client, row)
            except ServiceError:
                self._sides.pop(f"/v1/heads/{head}", None)
                raise

        async with self._turn:
            lost = ("answered", "malformed", "conflict")
            return await until_answered(attempt, lost=lost)

    async def _converse(
        self, path: str, layer: Layer, client: Client, row: np.ndarray
    ) -> np.ndarray:
        side = self._sides.get(path)
        if side is None:
            side = LabelClient(client, layer)
            agreed = side.agree()
            elements = await self._transport.ask("POST", f"{path}/transfers", agreed)
            side.read_elements(elements.body)
            self._sides[path] = side
        query = client.encrypt(layer, row)
        answer = await self._transport.ask("POST", f"{path}/answers", query)
        choices = side.choose(answer.body)
        garbled = await self._transport.ask("POST", f"{path}/labels", choices)
        return side.read(garbled.body)
