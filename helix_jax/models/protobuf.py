"""Reads protobuf messages without their schema.

A message is a sequence of numbered fields, each an integer, a float32, or bytes, which
may be a nested message. A repeated field is a list, or only its last value counts.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

Value = bytes | int | float
_Type = TypeVar("_Type", bytes, int, float)
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5  # wire types


def read_fields(message: bytes) -> Iterator[tuple[int, Value]]:
    """The fields of a message in order: number, value.

    Raises:
      ValueError, IndexError: the bytes are not a message.
    """
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, place = _varint(message, place)
            yield number, value - (1 << 64) if value >> 63 else value
            continue
        size = {_EIGHT: 8, _FOUR: 4}.get(wire)
        if wire == _BYTES:
            size, place = _varint(message, place)
        if size is None or place + size > len(message):
            raise ValueError("not a protobuf message")
        chunk, place = message[place : place + size], place + size
        yield number, struct.unpack("<f", chunk)[0] if wire == _FOUR else chunk


def messages_of(fields: Iterable[tuple[int, Value]], number: int) -> list[bytes]:
    """The messages in a repeated field.

    Raises:
      TypeError: it holds something else.
    """
    return [field_of({own: v}, own, b"") for own, v in fields if own == number]


def field_of(fields: Mapping[int, Value], number: int, default: _Type) -> _Type:
    """The value of a field; the default if there is none.

    Raises:
      TypeError: it is not of the default's type.
    """
    value = fields.get(number, default)
    if not isinstance(value, type(default)):
        raise TypeError(f"field {number} is not {type(default).__name__}")
    return value


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
