"""A body that comes in, written to a file as it comes, never held whole in memory."""

import asyncio
import contextlib
import hashlib
from pathlib import Path

from starlette.requests import ClientDisconnect, Request

from helix_jax.net.aggregation.journal import sync_file
from helix_jax.net.aggregation.refusals import refuse

PAUSE_SECONDS = 30.0  # in which nothing comes


def declared_size(request: Request) -> int:
    """What Content-Length says, which every body needs to.

    Raises:
      Refusal: there is none, or it is no number.
    """
    text = request.headers.get("content-length")
    if text is None:
        refuse("length_required")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        refuse("malformed", "Content-Length is no number")
    return int(text)


async def receive_body(request: Request, file: Path | None, size: int) -> str:
    """Write the body of a request; it is on the disk then.

    Args:
      request: whose body was not touched yet.
      file: a path that is free; None only reads.
      size: bytes that the body needs to have; it was checked before.

    Returns:
      SHA-256 of the body, hex.

    Raises:
      Refusal: it is cut off, or nothing came for PAUSE_SECONDS.
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
                refuse("busy", f"nothing came for {PAUSE_SECONDS:g} seconds")
            except ClientDisconnect:
                refuse("malformed", f"cut off, {left} bytes are missing")
            if chunk is None:
                break
            left -= len(chunk)
            if left < 0:
                refuse("too_large", "more bytes than Content-Length says")
            digest.update(chunk)
            if out:
                out.write(chunk)
    if left:
        refuse("malformed", f"{left} bytes are missing")
    if file:
        await asyncio.to_thread(sync_file, file)
    return digest.hexdigest()
