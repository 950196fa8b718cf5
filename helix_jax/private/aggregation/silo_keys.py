"""The body of KEYS: the public part of a silo's secrets, sent first."""

from collections.abc import Mapping
from typing import NamedTuple

from helix_jax.errors import ProtocolError
from helix_jax.private.aggregation import messages
from helix_jax.private.aggregation.messages import AGGREGATOR, Kind
from helix_jax.private.aggregation.primitives import KEY_BYTES
from helix_jax.private.aggregation.session import Session


class SiloKeys(NamedTuple):
    """The public keys of one silo.

    Attributes:
      sealing: X25519 public key, 32 bytes, for shares that are sealed for it.
      masking: X25519 public key, 32 bytes, for masks of pairs.
      commitment: 32 bytes, to the seed of its self mask.
      again: its rows may have been in a sum before.
    """

    sealing: bytes
    masking: bytes
    commitment: bytes
    again: bool

    def to_bytes(self) -> bytes:
        """The body, `messages.KEYS_BODY_BYTES` long."""
        return self.sealing + self.masking + self.commitment + bytes([self.again])

    @classmethod
    def from_bytes(cls, body: bytes | memoryview) -> "SiloKeys":
        """Read a body of the right length.

        Raises:
          ProtocolError: the last byte is neither 0 nor 1.
        """
        sealing, masking, commitment, again = (
            bytes(body[start : start + KEY_BYTES])
            for start in range(0, messages.KEYS_BODY_BYTES, KEY_BYTES)
        )
        if again not in (b"\0", b"\1"):
            raise ProtocolError(f"KEYS: the last byte is 0 or 1, got {again.hex()}.")
        return cls(sealing, masking, commitment, again == b"\1")


def read_all_keys(session: Session, signed: Mapping[int, bytes]) -> dict[int, SiloKeys]:
    """Read the signed KEYS messages of several silos, by their numbers.

    Raises:
      ProtocolError: one is malformed or from another silo, or two silos share a key.
    """
    keys = {}
    for k, data in signed.items():
        message = messages.read(session, data, Kind.KEYS, recipient=AGGREGATOR)
        if message.sender != k:
            raise ProtocolError(f"ALL_KEYS: keys of silo {message.sender} as {k}.")
        keys[k] = SiloKeys.from_bytes(message.body)
    flat = [key for one in keys.values() for key in (one.sealing, one.masking)]
    if len(set(flat)) < len(flat):
        raise ProtocolError(
            "ALL_KEYS: two silos advertise the same key. One of them copied the "
            "other: do not continue."
        )
    return keys
