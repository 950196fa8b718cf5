"""Messages between the silos and the aggregator: bytes, signed, checked before use.

    magic 4, version 2, kind 2, sender 2, recipient 2, session digest 32, body size 8
    body
    Ed25519 signature by the sender of SHA-256(header, body)

Numbers are little-endian; number 0 is the aggregator. Sets and tables: see bodies.py.

| kind | from | body |
|---|---|---|
| KEYS | silo | encryption key 32, mask key 32, commitment to the seed 32, again 1 |
| ALL_KEYS | aggregator | table of signed KEYS messages |
| SHARES | silo | table over the other silos: sealed pair of shares |
| SHARES_FOR | aggregator | table over the other silos: sealed pair of shares |
| MASKED | silo | low words 8 L, high words 8 L |
| SURVIVORS | aggregator | set of silos whose masked vectors have arrived |
| CONFIRM | silo | the same set |
| REQUEST | aggregator | sets of silos whose self seed, and whose mask key, is requested; table of signed CONFIRM messages |
| REVEAL | silo | table of shares of self seeds, table of shares of mask keys |
"""  # noqa: E501 - a table

import enum
import hashlib
import mmap
import struct
from typing import NamedTuple

from helix_jax.errors import ProtocolError
from helix_jax.private.aggregation.bodies import set_bytes
from helix_jax.private.aggregation.primitives import KEY_BYTES, TAG_BYTES
from helix_jax.private.aggregation.session import PROTOCOL, Session
from helix_jax.private.aggregation.shamir import SHARE_BYTES
from helix_jax.private.signatures import SIGNATURE_BYTES, is_signed, sign

MAGIC, VERSION = b"HXAG", 2
AGGREGATOR = 0
SEALED_BYTES = 2 * SHARE_BYTES + TAG_BYTES
_HEADER = struct.Struct("<4sHHHH32sQ")
KEYS_BODY_BYTES = 3 * KEY_BYTES + 1
KEYS_BYTES = _HEADER.size + KEYS_BODY_BYTES + SIGNATURE_BYTES


class Kind(enum.IntEnum):
    """Kinds of message, in the order in which they are sent."""

    KEYS = 1
    ALL_KEYS = 2
    SHARES = 3
    SHARES_FOR = 4
    MASKED = 5
    SURVIVORS = 6
    CONFIRM = 7
    REQUEST = 8
    REVEAL = 9


class Message(NamedTuple):
    """A message whose header, size and signature were checked, but not its body.

    Attributes:
      sender: number of a silo, or 0 for the aggregator.
      body: its bytes, not copied.
    """

    sender: int
    body: memoryview


def write(
    session: Session,
    signing_key: bytes,
    kind: Kind,
    *parts: bytes | memoryview,
    sender: int,
    recipient: int = AGGREGATOR,
) -> bytes:
    """A signed message whose body is the concatenation of the parts."""
    header = _HEADER.pack(
        MAGIC, VERSION, kind, sender, recipient, session.digest, sum(map(len, parts))
    )
    return b"".join([header, *parts, sign(signing_key, _digest(header, *parts))])


def read(
    session: Session, data: bytes | mmap.mmap, kind: Kind, *, recipient: int
) -> Message:
    """Check a message up to its signature.

    Args:
      session: the reader's.
      data: the bytes that arrived.
      kind: the kind that the reader expects.
      recipient: the reader's number.

    Raises:
      ProtocolError: the message is too short or too long, of another version, session,
        kind or recipient, or not signed by its sender.
    """
    view = memoryview(data).toreadonly()
    least = _HEADER.size + SIGNATURE_BYTES
    if len(view) < least:
        raise ProtocolError(
            f"read: a message has at least {least} bytes, got {len(view)}."
        )
    magic, version, got, sender, to, digest, size = _HEADER.unpack_from(view)
    if (magic, version) != (MAGIC, VERSION):
        raise ProtocolError(
            f"read: expected {MAGIC!r} version {VERSION}, got {magic!r} version "
            f"{version}. Both sides need the same helix_jax."
        )
    if digest != session.digest:
        raise ProtocolError(
            f"read: the message is of session {digest.hex()[:16]}, this is "
            f"{session.digest.hex()[:16]}. Compare the two sides' Session, field by "
            "field."
        )
    if got != kind:
        raise ProtocolError(f"read: waiting for {kind.name}, got kind {_name(got)}.")
    if to != recipient:
        raise ProtocolError(f"read: the message is for {to}, this is {recipient}.")
    from_silo = kind in (Kind.KEYS, Kind.SHARES, Kind.MASKED, Kind.CONFIRM, Kind.REVEAL)
    if sender not in (session.numbers if from_silo else (AGGREGATOR,)):
        raise ProtocolError(f"read: {sender} does not send {kind.name}.")
    if size != len(view) - least:
        raise ProtocolError(
            f"read: the header says {size} bytes of body, {len(view) - least} came."
        )
    least, most = _body_bytes(session, kind)
    if not least <= size <= most:
        raise ProtocolError(
            f"read: {kind.name} has {least} to {most} bytes of body in this session, "
            f"got {size}."
        )
    signed, signature = view[:-SIGNATURE_BYTES], bytes(view[-SIGNATURE_BYTES:])
    key = session.members[sender - 1] if from_silo else session.aggregator
    if not is_signed(key, signature, _digest(signed)):
        raise ProtocolError(f"read: {kind.name} is not signed by {sender}.")
    return Message(sender, signed[_HEADER.size :])


def body_of(data: bytes) -> bytes:
    """The body of a message that `read` has accepted."""
    return bytes(data[_HEADER.size : -SIGNATURE_BYTES])


def message_bytes(session: Session, kind: Kind) -> tuple[int, int]:
    """Smallest and largest size of a whole message, known before it is read."""
    around = _HEADER.size + SIGNATURE_BYTES
    least, most = _body_bytes(session, kind)
    return around + least, around + most


def sender_of(data: bytes | mmap.mmap) -> int:
    """The sender in a message of a correct size; nothing is checked."""
    return _HEADER.unpack_from(data)[3]


def confirm_bytes(session: Session) -> int:
    """Size of a whole CONFIRM message."""
    return _HEADER.size + set_bytes(session) + SIGNATURE_BYTES


def _body_bytes(session: Session, kind: Kind) -> tuple[int, int]:
    """Smallest and largest size of a body; equal if its size is fixed."""
    silos, one = len(session.members), set_bytes(session)
    return {
        Kind.KEYS: (KEYS_BODY_BYTES, KEYS_BODY_BYTES),
        Kind.ALL_KEYS: (one, one + silos * KEYS_BYTES),
        Kind.SHARES: (one, one + silos * SEALED_BYTES),
        Kind.SHARES_FOR: (one, one + silos * SEALED_BYTES),
        Kind.MASKED: (16 * session.length, 16 * session.length),
        Kind.SURVIVORS: (one, one),
        Kind.CONFIRM: (one, one),
        Kind.REQUEST: (3 * one, 3 * one + silos * confirm_bytes(session)),
        Kind.REVEAL: (2 * one, 2 * one + silos * SHARE_BYTES),
    }[kind]


def _digest(*parts: bytes | memoryview) -> bytes:
    digest = hashlib.sha256(PROTOCOL + b": ")
    for part in parts:
        digest.update(part)
    return digest.digest()


def _name(kind: int) -> str:
    return Kind(kind).name if kind in Kind.__members__.values() else str(kind)
