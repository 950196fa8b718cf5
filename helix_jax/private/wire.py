"""Messages of the encrypted layer: their layout, not their meaning.

    magic 4, version 2, kind 1, profile 1, key 16, number 16, binding 16, sizes 4 x 4,
    length 8

little-endian, and then exactly `length` bytes of payload. Numbers in a payload are
little-endian and as short as their range allows. Nothing is allocated before the length
is checked.

A client's requests end with its Ed25519 signature of a hash of all bytes before it: the
names of keys are public, and only the owner of a key may spend its budget.
"""

import hashlib
import struct
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from helix_jax.errors import KeyRoleError, ProtocolError
from helix_jax.private import signatures
from helix_jax.private.profiles import PROFILES, Profile

VERSION = 5
KINDS = {
    name: number
    for number, name in enumerate(
        (
            *("key", "layer", "query", "answer", "fit", "mean", "rows", "covariance"),
            *("transfers", "elements", "choices", "garbled"),
        ),
        start=1,
    )
}
_REMEDIES = {
    "query": "it was encrypted for another layer or other scales; read the offer again",
    "answer": "it is of another layer or other scales; read the offer and ask again",
    "choices": "they use discarded transfers; agree on new ones",
    "covariance": "it is of other messages of rows than were sent; start a new fit",
}
_MAGIC = b"HLXP"
_HEADER = struct.Struct("<4sHBB16s16s16s4IQ")
UNBOUND = bytes(16)
HEADER_BYTES = _HEADER.size


class Message(NamedTuple):
    """A message whose header was checked.

    Attributes:
      kind: a name of KINDS.
      profile: of the sender.
      key: 16 bytes, which client key it is for.
      number: 16 bytes, of this message or the one that it answers.
      binding: 16 bytes, a hash of what both sides must agree on; zeros for none.
      sizes: four integers, whose meaning depends on the kind.
      payload: the rest, or as much of it as has arrived.
      length: bytes of the whole payload.
    """

    kind: str
    profile: Profile
    key: bytes
    number: bytes
    binding: bytes
    sizes: tuple[int, int, int, int]
    payload: memoryview
    length: int


def write(
    kind: str,
    profile: Profile,
    *,
    key: bytes,
    number: bytes,
    binding: bytes = UNBOUND,
    sizes: tuple[int, ...],
    payload: bytes,
    signing_key: bytes | None = None,
) -> bytes:
    """The bytes of a message; sizes are padded with zeros.

    A signing key adds the sender's signature to the payload.
    """
    signed = signing_key is not None
    header = write_header(
        kind,
        profile,
        key=key,
        number=number,
        binding=binding,
        sizes=sizes,
        length=len(payload) + signed * signatures.SIGNATURE_BYTES,
    )
    message = header + payload
    return message if signing_key is None else sign(message, signing_key)


def sign(message: bytes, signing_key: bytes) -> bytes:
    """Append a message's signature, which the length in its header already counts."""
    return message + signatures.sign(signing_key, _digest(message))


def write_header(
    kind: str,
    profile: Profile,
    *,
    key: bytes,
    number: bytes,
    binding: bytes,
    sizes: tuple[int, ...],
    length: int,
) -> bytes:
    """The bytes of a message before its payload of `length` bytes."""
    sizes = (*sizes, 0, 0, 0, 0)[:4]
    code = KINDS[kind]
    start = _MAGIC, VERSION, code, profile.code, key, number, binding
    return _HEADER.pack(*start, *sizes, length)


def read(
    data: bytes | memoryview,
    kind: str,
    profile: Profile,
    key: bytes | None = None,
    *,
    number: bytes | None = None,
    binding: bytes | None = UNBOUND,
    whole: bool = True,
) -> Message:
    """Check a message's header.

    Args:
      data: the message.
      kind: the expected kind.
      profile: the expected profile.
      key: the expected client key; None accepts any.
      number: the expected number; None accepts any.
      binding: the expected binding; None accepts any.
      whole: the whole payload is here, too.

    Raises:
      ProtocolError: it is not the expected message, or is truncated or extended.
      KeyRoleError: it is for another client's key.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        raise ProtocolError(f"{kind}: expected bytes, got {type(data).__name__}.")
    view = memoryview(data)
    if not view.c_contiguous:
        raise ProtocolError(f"{kind}: a message must be contiguous in memory.")
    view = view.cast("B")
    if len(view) < HEADER_BYTES:
        raise ProtocolError(
            f"{kind}: a message has at least {HEADER_BYTES} bytes, got {len(view)}."
        )
    magic, version, code, parameters, own, given, bound, *sizes, length = (
        _HEADER.unpack(view[:HEADER_BYTES])
    )
    if magic != _MAGIC:
        raise ProtocolError(f"{kind}: this is not a message of the encrypted layer.")
    if version != VERSION:
        raise ProtocolError(
            f"{kind}: expected version {VERSION}, got {version}; use the same "
            "release of helix_jax on both sides."
        )
    if code != KINDS[kind]:
        names = {number: name for name, number in KINDS.items()}
        raise ProtocolError(
            f"expected a message of kind {kind!r}, got {names.get(code, code)!r}."
        )
    if parameters != profile.code:
        names = {other.code: other.name for other in PROFILES.values()}
        raise ProtocolError(
            f"{kind}: expected profile {profile.name!r}, got "
            f"{names.get(parameters, parameters)!r}."
        )
    if whole and length != len(view) - HEADER_BYTES:
        raise ProtocolError(
            f"{kind}: the header says {length} bytes follow, got "
            f"{len(view) - HEADER_BYTES}."
        )
    if key is not None and own != key:
        raise KeyRoleError(
            f"{kind}: it is for the client key {own.hex()}, expected {key.hex()}."
        )
    if number is not None and given != number:
        raise ProtocolError(
            f"{kind}: it belongs to {given.hex()}, here is {number.hex()}; messages of "
            "other fits and queries are not read."
        )
    if binding is not None and bound != binding:
        raise ProtocolError(
            f"{kind}: it is bound to {bound.hex()}, here is {binding.hex()}: "
            f"{_REMEDIES.get(kind, 'it has been changed in transit')}."
        )
    rest = view[HEADER_BYTES:]
    return Message(kind, profile, own, given, bound, tuple(sizes), rest, length)


def require_signed(data: bytes, message: Message, key: bytes) -> Message:
    """Check the signature at the end of a message, and return the message without it.

    Args:
      data: the bytes that were read.
      message: what `read` returned for them.
      key: the sender's verifying key.

    Raises:
      KeyRoleError: it is not signed by that key.
    """
    view, end = memoryview(data).cast("B"), -signatures.SIGNATURE_BYTES
    if not signatures.is_signed(key, bytes(view[end:]), _digest(view[:end])):
        raise KeyRoleError(
            f"{message.kind}: it is not signed by the owner of the client key "
            f"{message.key.hex()}: somebody else wrote it, or changed it in transit."
        )
    length = message.length - signatures.SIGNATURE_BYTES
    return message._replace(payload=message.payload[:length], length=length)


def _digest(message: bytes | memoryview) -> bytes:
    hashed = hashlib.sha256(b"helix_jax private")
    hashed.update(message)
    return hashed.digest()


def key_name(bundle: bytes | memoryview) -> bytes:
    """The 16 bytes that name a public key, a hash of its content."""
    return hashlib.sha256(bundle).digest()[:16]


def expect_sizes(message: Message, sizes: tuple[int, ...], length: int) -> None:
    """Refuse a message whose sizes or payload length are not the expected ones."""
    sizes = (*sizes, 0, 0, 0, 0)[:4]
    if message.sizes != sizes or message.length != length:
        raise ProtocolError(
            f"{message.kind}: expected sizes {sizes} and {length} bytes, got "
            f"{message.sizes} and {message.length}."
        )


class Pieces:
    """A message that arrives in pieces, and is read in pieces of other sizes."""

    def __init__(self, pieces: Iterable[bytes | memoryview], kind: str):
        self._pieces, self._kind = iter(pieces), kind
        self._buffer: bytes | memoryview = b""

    def take(self, count: int) -> memoryview:
        """The next bytes.

        Raises:
          ProtocolError: the message ends too early.
        """
        parts, missing = [self._buffer], count - len(self._buffer)
        while missing > 0:
            piece = next(self._pieces, None)
            if piece is None:
                raise ProtocolError(
                    f"{self._kind}: the message is {missing} bytes too short."
                )
            parts.append(piece)
            missing -= len(piece)
        whole = memoryview(b"".join(parts) if parts[1:] else self._buffer)
        self._buffer = whole[count:]
        return whole[:count]

    def finish(self) -> None:
        """Refuse bytes after the end."""
        if len(self._buffer) or any(len(piece) for piece in self._pieces):
            raise ProtocolError(f"{self._kind}: bytes follow the end of the message.")


def pack_integers(values: np.ndarray, width: int) -> bytes:
    """Integers from 0 to 256^width - 1 as `width` bytes each."""
    if width == 4:
        return np.asarray(values, "<u4").tobytes()
    raw = np.ascontiguousarray(values, "<u8").view(np.uint8)
    return raw.reshape(-1, 8)[:, :width].tobytes()


def unpack_integers(data: memoryview, shape: tuple[int, ...], width: int) -> np.ndarray:
    """The inverse of `pack_integers`: int64 of a shape; the length must be right."""
    if width == 4:
        return np.frombuffer(data, "<u4").astype(np.int64).reshape(shape)
    raw = np.zeros((int(np.prod(shape)), 8), np.uint8)
    raw[:, :width] = np.frombuffer(data, np.uint8).reshape(-1, width)
    return raw.view("<i8").reshape(shape)


def pack_residues(values: np.ndarray, profile: Profile) -> bytes:
    """Pack residues [count, L, N], prime by prime, each in the fewest whole bytes."""
    return b"".join(
        pack_integers(values[:, number], width)
        for number, width in enumerate(profile.residue_bytes)
    )


def unpack_residues(
    data: memoryview, count: int, profile: Profile, kind: str
) -> np.ndarray:
    """The inverse of `pack_residues`: int64 [count, L, N]; the length must be right.

    Raises:
      ProtocolError: a residue is not below its prime.
    """
    values = np.empty((count, len(profile.primes), profile.degree), np.int64)
    start, shape = 0, (count, profile.degree)
    for number, width in enumerate(profile.residue_bytes):
        stop = start + count * profile.degree * width
        values[:, number] = unpack_integers(data[start:stop], shape, width)
        start = stop
        prime, largest = profile.primes[number], values[:, number].max(initial=0)
        if largest >= prime:
            raise ProtocolError(
                f"{kind}: residues modulo {prime} must be below it, got {largest}."
            )
    return values


def residues_length(count: int, profile: Profile) -> int:
    """Bytes of `count` polynomials of residues."""
    return count * profile.degree * sum(profile.residue_bytes)
