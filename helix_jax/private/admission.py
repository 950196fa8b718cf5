"""Admission of clients: tickets that bind a client's key to an identity.

    ticket = (admission, key, until, identity), signed by the provider

Keys cost nothing: a client that is counted only by its key can make another. So the
provider, or its desk, issues tickets to clients that it knows, each for one key that
the client names, and its services count usage by the identity in the ticket. A key's
name is a hash of its content, which includes the key that verifies its messages, so
nobody else can send queries under that name.
"""

import hashlib
import math
import os
import secrets
import struct
import time
from pathlib import Path
from typing import NamedTuple, NoReturn

from helix_jax.errors import KeyRoleError, ProtocolError
from helix_jax.paths import local_path, os_errors
from helix_jax.private import signatures
from helix_jax.private.ledger import check_identity
from helix_jax.secret_files import make_secret, read_secret

_MAGIC, _VERSION = b"HLXT", 1
_HEADER = struct.Struct("<4sH16s16sdH")
_MOST = 1000  # bytes of an identity
_NAME_BYTES = 16


class Ticket(NamedTuple):
    """The content of a ticket.

    Attributes:
      identity: under which the holder's usage is counted.
      until: when the ticket expires, in seconds since 1970.
    """

    identity: str
    until: float


class Admission:
    """Issues tickets, and checks those that it issued.

    Attributes:
      name: 16 bytes, a hash of the key that verifies its tickets.
    """

    def __init__(self, path: str | os.PathLike | None = None):
        """Read the signing key, or make one.

        Args:
          path: the file of the key, 32 bytes that nobody else may read; created if it
            is missing. None makes a key in memory, and its tickets are valid only as
            long as this object lives.

        Raises:
          ProtocolError: the file cannot be read, is not a key, or others may read it.
        """
        if path is None:
            self._signing = secrets.token_bytes(signatures.KEY_BYTES)
        else:
            self._signing = _read_key(local_path(path, "the admission's key"))
        self._verifying = signatures.verifying_key(self._signing)
        self.name = hashlib.sha256(self._verifying).digest()[:_NAME_BYTES]

    def issue(self, identity: str, key: bytes, *, seconds: float) -> bytes:
        """Issue a ticket for a client's key.

        Args:
          identity: under which the holder's usage is counted; the caller must tell
            holders apart.
          key: 16 bytes, the name of the client's key (`Client.key`).
          seconds: for which the ticket is valid, from now on.

        Raises:
          ValueError: the identity is empty, too long or not printable, `key` is not
            the name of a key, or `seconds` is not positive and finite.
        """
        check_identity(identity)
        written = identity.encode()
        if not 0 < len(written) <= _MOST:
            raise ValueError(
                f"issue: an identity has 1 to {_MOST} bytes, got {len(written)}."
            )
        if not isinstance(key, bytes) or len(key) != _NAME_BYTES:
            raise ValueError(f"issue: a key is named by {_NAME_BYTES} bytes.")
        if not 0 < seconds < math.inf:
            raise ValueError(f"issue: seconds must be positive, got {seconds}.")
        until = time.time() + seconds
        start = _MAGIC, _VERSION, self.name, key, until, len(written)
        body = _HEADER.pack(*start) + written
        return body + signatures.sign(self._signing, _digest(body))

    def read(self, ticket: bytes, key: bytes) -> Ticket:
        """Check a ticket that comes with a key.

        Raises:
          ProtocolError: it is malformed.
          KeyRoleError: it was not issued here, is for another key, or has expired.
        """
        least = _HEADER.size + signatures.SIGNATURE_BYTES
        if not isinstance(ticket, bytes | bytearray) or len(ticket) < least:
            raise ProtocolError(f"ticket: expected {least} bytes or more.")
        body = bytes(ticket[: -signatures.SIGNATURE_BYTES])
        signature = bytes(ticket[-signatures.SIGNATURE_BYTES :])
        start = _HEADER.unpack(body[: _HEADER.size])
        magic, version, admission, holder, until, length = start
        if (magic, version) != (_MAGIC, _VERSION):
            raise ProtocolError(
                "ticket: this is not a ticket, or it is one of another release."
            )
        digest = _digest(body)
        if admission != self.name or not signatures.is_signed(
            self._verifying, signature, digest
        ):
            raise KeyRoleError(
                "ticket: it was not issued by this provider's admission."
            )
        if holder != key:
            raise KeyRoleError(
                f"ticket: it is for the client key {holder.hex()}, not {key.hex()}."
            )
        if until < time.time():
            raise KeyRoleError("ticket: it has expired; ask the provider for another.")
        if length != len(body) - _HEADER.size:
            raise ProtocolError("ticket: its length differs from its header.")
        return Ticket(body[_HEADER.size :].decode(), until)

    def __reduce__(self) -> NoReturn:
        raise TypeError("an Admission is not copied or pickled: it holds a secret key.")


def admit(admission: Admission | None, ticket: bytes | None, key: bytes) -> Ticket:
    """The content of a key's ticket; without an admission, the key itself for ever.

    Raises:
      ProtocolError: the ticket is malformed, or there is no admission to check it.
      KeyRoleError: the ticket is missing, or does not admit this key.
    """
    if admission is not None:
        if ticket is None:
            raise KeyRoleError(
                "register: clients are admitted here with a ticket; ask the provider "
                f"for one for the key {key.hex()}."
            )
        return admission.read(ticket, key)
    if ticket is not None:
        raise ProtocolError(
            "register: a ticket was given, but this provider has no admission to read "
            "it by."
        )
    return Ticket(f"key {key.hex()}", math.inf)


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(b"helix_jax ticket" + body).digest()


def _read_key(path: Path) -> bytes:
    what = "the admission's key"
    with os_errors(path, f"be used as {what}", ProtocolError):
        missing = not path.exists()
    if missing:
        new = secrets.token_bytes(signatures.KEY_BYTES)
        make_secret(path, new, what, raises=ProtocolError)
    key = read_secret(path, what, raises=ProtocolError)
    if len(key) != signatures.KEY_BYTES:
        raise ProtocolError(
            f"{path} is not an admission's key: {len(key)} bytes instead of "
            f"{signatures.KEY_BYTES}."
        )
    return key
