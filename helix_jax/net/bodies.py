"""The parts of a request: bodies of a known size, read in time; names and numbers."""

import asyncio
import json
from typing import Any

from starlette.requests import Request

from helix_jax.net.refusals import Refusal


def announced(request: Request, most: int) -> int:
    """The length of a body, from its header.

    Raises:
      Refusal: it is not given, or larger than `most`.
    """
    written = request.headers.get("content-length")
    if written is None:
        if "transfer-encoding" in request.headers:
            raise Refusal("length_required")
        return 0
    if not written.isascii() or not written.isdigit() or len(written) > 15:
        raise Refusal("malformed", "content-length")
    if int(written) > most:
        raise Refusal("too_large", f"{written} bytes, at most {most}")
    return int(written)


async def read_body(request: Request, size: int, seconds: float) -> bytes:
    """Exactly the bytes that were announced, in time.

    Raises:
      Refusal: fewer or more came, or too late.
    """
    if size == 0:
        return b""
    body, got = bytearray(size), 0
    try:
        async with asyncio.timeout(seconds):
            async for piece in request.stream():
                if got + len(piece) > size:
                    raise Refusal("too_large", "more than was announced")
                body[got : got + len(piece)] = piece
                got += len(piece)
    except TimeoutError:
        raise Refusal("timeout", f"{got} of {size} bytes came") from None
    if got != size:
        raise Refusal("malformed", f"{got} of {size} bytes came")
    return bytes(body)


def read_json(body: bytes, names: tuple[str, ...]) -> dict[str, Any]:
    """An object of texts with exactly these names.

    Raises:
      Refusal: it is not such an object.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal("malformed", "not JSON") from None
    if not isinstance(found, dict) or set(found) != set(names):
        raise Refusal("malformed", f"expected an object of {names}")
    if not all(isinstance(value, str) for value in found.values()):
        raise Refusal("malformed", f"expected texts for {names}")
    return found


def read_number(written: str) -> int:
    """A number of a path.

    Raises:
      Refusal: it is not a number.
    """
    if not (written.isascii() and written.isdigit() and len(written) < 10):
        raise Refusal("malformed", "expected a number")
    return int(written)
