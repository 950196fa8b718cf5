"""An incoming body, written to a file piece by piece, never whole in memory."""

import asyncio
import contextlib
import hashlib
from pathlib import Path

from starlette.requests import Request

from helix_jax.atomic import sync_new
from helix_jax.net.refusals import Refusal

PAUSE_SECONDS = 30.0  # without a byte


async def receive_body(request: Request, file: Path | None, size: int) -> str:
    """Write the body of a request; it is on the disk then.

    Args:
      request: whose body has not been read yet.
      file: a path that is free; None only reads.
      size: bytes that the body needs to have; it was checked before.

    Returns:
      SHA-256 of the body, hex.

    Raises:
      Refusal: it is not of that size, or nothing came for PAUSE_SECONDS.
      ClientDisconnect: it is cut off.
      OSError: it cannot be written.
    """
    digest, left = hashlib.sha256(), size
    stream = request.stream().__aiter__()
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(open(file, "xb", buffering=0)) if file else None
        while True:
            try:
                async with asyncio.timeout(PAUSE_SECONDS):
                    chunk = await anext(stream, None)
            except TimeoutError:
                raise Refusal("timeout", f"nothing for {PAUSE_SECONDS:g} s") from None
            if chunk is None:
                break
            left -= len(chunk)
            if left < 0:
                raise Refusal("too_large", "more bytes than were announced")
            digest.update(chunk)
            if out:
                out.write(chunk)
    if left:
        raise Refusal("malformed", f"{left} bytes are missing")
    if file:
        await asyncio.to_thread(sync_new, file)
    return digest.hexdigest()
