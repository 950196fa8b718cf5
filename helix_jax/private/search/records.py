"""The record of a hit: its id and text, in a fixed size, as digits.

    checksum 8, bytes of the id 2, bytes of the text 2, id, text, zeros

Numbers are little-endian, texts UTF-8; a record is a multiple of three bytes. Three
bytes are two digits of 12 bits, from -2048 to 2047. Digits are the weights of the
texts' layers, whose results are rounded to digits. The checksum binds a record to its
row and its index.
"""

import hashlib
import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from helix_jax.errors import ProtocolError
from helix_jax.private.search.limits import MAX_ID_BYTES, MAX_TEXT_BYTES

LARGEST_DIGIT = 2048  # in magnitude
_CHECKSUM = 8
_START = struct.Struct(f"<{_CHECKSUM}sHH")
MAX_RECORD_BYTES = -(-(_START.size + MAX_ID_BYTES + MAX_TEXT_BYTES) // 3) * 3


class Document(NamedTuple):
    """The content of a row in a provider's index.

    Attributes:
      id: of the row.
      text: of the row; empty if the index has no texts.
    """

    id: str
    text: str


def record_bytes(ids: Sequence[bytes], texts: Sequence[bytes]) -> int:
    """Size of a record that can hold the longest of these, a multiple of three."""
    longest = max(len(a) + len(b) for a, b in zip(ids, texts, strict=True))
    return -(-(_START.size + longest) // 3) * 3


def pack_record(name: bytes, row: int, own_id: bytes, text: bytes, size: int) -> bytes:
    """The record of a row: `size` bytes.

    Args:
      name: 16 bytes, of the index.
      row: number of the row in the index's order.
      own_id, text: of the row, in UTF-8.
      size: of every record of the index.
    """
    body = own_id + text
    lengths = len(own_id), len(text)
    return _START.pack(_checksum(name, row, lengths, body), *lengths) + body.ljust(
        size - _START.size, b"\0"
    )


def read_record(name: bytes, row: int, record: bytes) -> Document:
    """The inverse of `pack_record`.

    Raises:
      ProtocolError: it is not a record of that row of that index.
    """
    checksum, *lengths = _START.unpack(record[: _START.size])
    stop = _START.size + sum(lengths)
    body = record[_START.size : stop]
    if stop > len(record) or checksum != _checksum(name, row, lengths, body):
        raise ProtocolError(
            f"texts: the answer is not the text of row {row}: its checksum does "
            "not fit. Tell the provider by another channel; repeating could tell it "
            "which text was read."
        )
    try:
        return Document(body[: lengths[0]].decode(), body[lengths[0] :].decode())
    except UnicodeDecodeError as wrong:
        raise ProtocolError(f"texts: row {row} is not UTF-8 ({wrong}).") from wrong


def to_digits(records: np.ndarray) -> np.ndarray:
    """Records [n, size] uint8 as digits [n, 2 size / 3] float64."""
    low, middle, high = np.moveaxis(
        records.reshape(len(records), -1, 3).astype(np.int64), 2, 0
    )
    digits = np.stack([low | (middle & 15) << 8, middle >> 4 | high << 4], axis=2)
    return digits.reshape(len(records), -1) - float(LARGEST_DIGIT)


def from_digits(digits: np.ndarray) -> bytes:
    """One record from results [2 size / 3] float64 that are close to digits.

    Raises:
      ProtocolError: a digit is out of bounds.
    """
    whole = np.rint(digits) + LARGEST_DIGIT
    if not ((whole >= 0) & (whole < 2 * LARGEST_DIGIT)).all():
        raise ProtocolError("texts: the answer is not a text: digits out of bounds.")
    first, second = whole.astype(np.int64).reshape(-1, 2).T
    parts = first & 255, first >> 8 | (second & 15) << 4, second >> 4
    return np.stack(parts, axis=1).astype(np.uint8).tobytes()


def _checksum(name: bytes, row: int, lengths: Sequence[int], body: bytes) -> bytes:
    start = b"helix_jax text" + name + struct.pack("<QHH", row, *lengths)
    return hashlib.sha256(start + body).digest()[:_CHECKSUM]
