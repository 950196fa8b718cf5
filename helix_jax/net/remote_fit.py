"""A fit through a service: rows up, means and the cross-covariance down."""

import asyncio
import contextlib
import json
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from helix_jax.alignment import AffineMap, Moments
from helix_jax.errors import ProtocolError
from helix_jax.net.transport import Answer, ServiceError, Transport
from helix_jax.private import Client, FitClient
from helix_jax.progress import bar


class RemoteFit(NamedTuple):
    """A fit through a service.

    Attributes:
      moments: what every solver takes; of the projection if a rank was given.
      noise: [d_x, d_y] standard deviation of the provider's noise in cov_xy.
      expand: turns a map from the projection into one from x itself.
    """

    moments: Moments
    noise: np.ndarray
    expand: Callable[[AffineMap], AffineMap]


async def fit_remotely(
    transport: Transport, rows: str, client: Client, x: np.ndarray, **options: Any
) -> RemoteFit:
    """Fit by a client's key that the service knows.

    Args:
      transport: to the service.
      rows: their name there.
      client: of the key.
      x: [n, d_x] float, the client's states of the same texts.
      **options: of `FitClient`.

    Raises:
      ServiceError: refused, or not reached.
      ProtocolError: other texts, or malformed messages.
    """
    path = f"/v1/fits/{os.urandom(16).hex()}"
    asked = json.dumps({"rows": rows, "key": client.key.hex()}).encode()
    offer = (await transport.ask("PUT", path, asked)).body
    side = await asyncio.to_thread(FitClient, client, offer, x, **options)
    chunks = side.chunks()
    numbers = range(side.plan.chunks)
    for number in bar(numbers, "rows under encryption", unit="messages"):
        message = await asyncio.to_thread(next, chunks)
        await transport.ask("PUT", f"{path}/rows/{number}", message)
    side.read_mean((await transport.ask("GET", f"{path}/mean")).body)
    part, parts = 0, 1
    while part < parts:
        answer = await transport.ask("GET", f"{path}/results/{part}")
        parts = _parts_of(answer, side.offer.width)
        await asyncio.to_thread(side.read, answer.body)
        part += 1
    moments = side.moments()
    with contextlib.suppress(ServiceError):  # it ends by itself, later
        await transport.ask("DELETE", path)
    return RemoteFit(moments, side.noise, side.expand)


def _parts_of(answer: Answer, most: int) -> int:
    """The number of messages of results that a provider announces."""
    written = answer.headers.get("helix-parts", "")
    right = written.isascii() and written.isdigit() and len(written) < 10
    count = int(written) if right else 0
    if not 0 < count <= most:
        raise ProtocolError(
            f"fit: expected 1 to {most} messages of results, got {written!r:.30}."
        )
    return count
