"""Messages between the service and its workers: frames of JSON and bytes.

    length of the head 4, length of the body 8, little-endian; head (JSON); body

Both ends are this program's own processes; even so, nothing is unpickled.
"""

import asyncio
import json
import socket
import struct
import zlib
from typing import Any, NamedTuple

_LENGTHS = struct.Struct("<IQ")
MOST_HEAD = 2**24
MOST_BODY = 2**31


class Frame(NamedTuple):
    """A head that JSON can hold, and bytes."""

    head: dict[str, Any]
    body: bytes = b""


def place_of(bound: bytes, places: int) -> int:
    """The worker of what is bound to one."""
    return zlib.crc32(bound) % places


def pack(frame: Frame) -> list[bytes]:
    """The pieces of a frame to send."""
    head = json.dumps(frame.head).encode()
    return [_LENGTHS.pack(len(head), len(frame.body)) + head, frame.body]


def _lengths(data: bytes) -> tuple[int, int]:
    head, body = _LENGTHS.unpack(data)
    if head > MOST_HEAD or body > MOST_BODY:
        raise ConnectionError(f"a frame of {head} and {body} bytes is too large")
    return head, body


def send(end: socket.socket, frame: Frame) -> None:
    """Send from a worker."""
    for piece in pack(frame):
        end.sendall(piece)


def receive(end: socket.socket) -> Frame | None:
    """Receive in a worker; None when the service has ended."""
    start = _take(end, _LENGTHS.size)
    if start is None:
        return None
    head_length, body_length = _lengths(start)
    head, body = _take(end, head_length), _take(end, body_length)
    if head is None or body is None:
        return None
    return Frame(json.loads(head), body)


def _take(end: socket.socket, count: int) -> bytes | None:
    buffer = bytearray(count)
    view = memoryview(buffer)
    while view:
        got = end.recv_into(view)
        if not got:
            return None
        view = view[got:]
    return bytes(buffer)


async def receive_from(reader: asyncio.StreamReader) -> Frame:
    """Receive in the service.

    Raises:
      asyncio.IncompleteReadError, ConnectionError: the worker has ended.
    """
    head_length, body_length = _lengths(await reader.readexactly(_LENGTHS.size))
    head = json.loads(await reader.readexactly(head_length))
    return Frame(head, await reader.readexactly(body_length))
