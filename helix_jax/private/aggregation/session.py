"""What all roles agree on before a sum, and its digest, which every key is bound to."""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Sequence

from helix_jax.private.aggregation.primitives import KEY_BYTES, verifying_key

MAX_SILOS = 1000
MAX_LENGTH = 2**36


@dataclasses.dataclass(frozen=True)
class Session:
    """One sum over named silos.

    Every silo must get the identities from somebody it trusts, not from the
    aggregator, and must never enter a session a second time. A role that was told
    other parameters has another digest: its messages are refused and its masks do not
    cancel.

    Attributes:
      identifier: 16 bytes, fresh for each session.
      aggregator: verifying key of the aggregator.
      members: verifying keys of the silos; silo k is `members[k - 1]`.
      threshold: silos that must stay to the end, and shares that open a secret.
      length: integers in a vector.
      content: what the integers mean, such as `MomentsFormat.content`.
    """

    identifier: bytes
    aggregator: bytes
    members: tuple[bytes, ...]
    threshold: int
    length: int
    content: bytes

    def __post_init__(self) -> None:
        """Refuse parameters under which the protocol promises nothing."""
        silos = len(self.members)
        keys = (self.aggregator, *self.members)
        if not 3 <= silos <= MAX_SILOS:
            raise ValueError(
                f"Session: needs 3 to {MAX_SILOS} silos, got {silos}. Of a sum over "
                "two, each silo learns the other's part by subtraction."
            )
        if len(set(keys)) < len(keys) or any(len(key) != KEY_BYTES for key in keys):
            raise ValueError(
                f"Session: the aggregator and the silos need {silos + 1} distinct "
                f"verifying keys of {KEY_BYTES} bytes; `new_identity` makes them."
            )
        if not max(3, silos // 2 + 1) <= self.threshold <= silos:
            raise ValueError(
                f"Session: with {silos} silos the threshold needs to be "
                f"{max(3, silos // 2 + 1)} to {silos}, got {self.threshold}. At half "
                "or fewer, an aggregator could have two groups of silos open two "
                "different secrets of a third."
            )
        if len(self.identifier) != 16 or not 1 <= self.length <= MAX_LENGTH:
            raise ValueError(
                "Session: needs an identifier of 16 bytes and a length of 1 to "
                f"{MAX_LENGTH}, got {len(self.identifier)} bytes and {self.length}."
            )

    @functools.cached_property
    def digest(self) -> bytes:
        """SHA-256 of all fields, each preceded by its size."""
        numbers = (len(self.members), self.threshold, self.length)
        parts = [b"helix_jax aggregation 1", self.identifier, self.aggregator]
        parts += [*self.members, *(n.to_bytes(8) for n in numbers), self.content]
        return hashlib.sha256(
            b"".join(len(part).to_bytes(8) + part for part in parts)
        ).digest()

    @property
    def numbers(self) -> range:
        """Numbers of the silos, from 1."""
        return range(1, len(self.members) + 1)


def default_threshold(silos: int) -> int:
    """Two thirds and one: as many may leave as may collude with the aggregator."""
    return max(3, 2 * silos // 3 + 1)


def new_session(
    aggregator: bytes,
    members: Sequence[bytes],
    *,
    length: int,
    content: bytes,
    threshold: int | None = None,
) -> Session:
    """A session with a fresh identifier; see `Session` for the arguments.

    Args:
      aggregator: verifying key.
      members: verifying keys.
      length: integers in a vector.
      content: what they mean.
      threshold: None for `default_threshold`.

    Raises:
      ValueError: the protocol promises nothing under these parameters.
    """
    if threshold is None:
        threshold = default_threshold(len(members))
    return Session(
        os.urandom(16), aggregator, tuple(members), threshold, length, content
    )


def new_identity(random: Callable[[int], bytes] = os.urandom) -> tuple[bytes, bytes]:
    """A signing key, to be kept, and its verifying key, to be published."""
    signing_key = random(KEY_BYTES)
    return signing_key, verifying_key(signing_key)
