"""The parameters agreed on before a sum, and the digest that binds keys to them."""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Sequence

from helix_jax.private.signatures import KEY_BYTES, verifying_key

PROTOCOL = b"helix_jax aggregation 2"  # prefix of everything that is hashed
MAX_SILOS = 1000
MAX_LENGTH = 2**36


@dataclasses.dataclass(frozen=True)
class Session:
    """One sum over named silos.

    Every silo must get the identities from somebody it trusts, not from the
    aggregator. A role with other parameters has another digest: its messages are
    refused and its masks do not cancel.

    With n silos, threshold t and c colluders, a single silo's vector is hidden from
    the aggregator and the colluders, whatever they send, if

        t >= c + 2       the total minus their own parts is a sum of two or more
        2 t > n + c      no two groups, with the colluders in both, open two secrets

    Other parameters are refused. The reason for the second condition: a silo reveals a
    share of only one secret of each other silo, for one list of survivors, and opening
    a secret takes t silos, t - c of whom are not colluders. So two lists that open both
    secrets of one silo need 2 (t - c) <= n - c.

    Reference: Bonawitz et al. 2017, CCS, section 6.2, theorem 6.5: c < t and
      2 t > n + c; c < t - 1 is ours, since a sum of one survivor is its vector.

    Attributes:
      identifier: 16 bytes, fresh for each session.
      aggregator: verifying key of the aggregator.
      members: verifying keys of the silos; silo k is `members[k - 1]`.
      threshold: silos that must stay to the end; also the shares that open a secret.
      colluders: silos that may collude with the aggregator.
      length: integers in a vector.
      content: what the integers mean, such as `MomentsFormat.content`.
    """

    identifier: bytes
    aggregator: bytes
    members: tuple[bytes, ...]
    threshold: int
    colluders: int
    length: int
    content: bytes

    def __post_init__(self) -> None:
        """Refuse parameters under which the protocol guarantees nothing."""
        silos = len(self.members)
        keys = (self.aggregator, *self.members)
        if not 3 <= silos <= MAX_SILOS:
            raise ValueError(
                f"Session: needs 3 to {MAX_SILOS} silos, got {silos}. In a sum over "
                "two, each silo learns the other's part by subtraction."
            )
        if len(set(keys)) < len(keys) or any(len(key) != KEY_BYTES for key in keys):
            raise ValueError(
                f"Session: the aggregator and the silos need {silos + 1} distinct "
                f"verifying keys of {KEY_BYTES} bytes; `new_identity` makes them."
            )
        self._require_threshold(silos, self.threshold, self.colluders)
        if len(self.identifier) != 16 or not 1 <= self.length <= MAX_LENGTH:
            raise ValueError(
                "Session: needs an identifier of 16 bytes and a length of 1 to "
                f"{MAX_LENGTH}, got {len(self.identifier)} bytes and {self.length}."
            )

    def _require_threshold(self, silos: int, threshold: int, colluders: int) -> None:
        if not 0 <= colluders <= silos - 2:
            raise ValueError(
                f"Session: of {silos} silos 0 to {silos - 2} may collude, got "
                f"{colluders}: it takes at least two others to hide each other."
            )
        if not 3 <= threshold <= silos:
            raise ValueError(
                f"Session: with {silos} silos the threshold needs to be 3 to {silos}, "
                f"got {threshold}."
            )
        least = least_threshold(silos, colluders)
        if threshold < colluders + 2:
            raise ValueError(
                f"Session: a threshold of {threshold} with {colluders} colluders lets "
                f"a total be of {threshold - colluders} others, needs 2: it has to be "
                f"{least} or more."
            )
        if 2 * threshold <= silos + colluders:
            raise ValueError(
                f"Session: with {silos} silos and {colluders} colluders twice the "
                f"threshold needs to be above {silos + colluders}, got {2 * threshold}:"
                " the aggregator could have two groups of silos, the colluders in "
                f"both, open two different secrets of a third. Use {least} or more."
            )

    @functools.cached_property
    def digest(self) -> bytes:
        """SHA-256 of all fields, each preceded by its size."""
        numbers = (len(self.members), self.threshold, self.colluders, self.length)
        parts = [PROTOCOL, self.identifier, self.aggregator]
        parts += [*self.members, *(n.to_bytes(8) for n in numbers), self.content]
        return hashlib.sha256(
            b"".join(len(part).to_bytes(8) + part for part in parts)
        ).digest()

    @property
    def numbers(self) -> range:
        """Numbers of the silos, from 1."""
        return range(1, len(self.members) + 1)


def least_threshold(silos: int, colluders: int) -> int:
    """The smallest threshold that is safe with `colluders` colluders; see `Session`."""
    return max(3, colluders + 2, (silos + colluders) // 2 + 1)


def most_colluders(silos: int, threshold: int) -> int:
    """The most colluders that a threshold tolerates, at least 0; see `Session`."""
    return max(0, min(threshold - 2, 2 * threshold - silos - 1, silos - 2))


def default_threshold(silos: int) -> int:
    """Two thirds plus one: as many silos may leave as may collude."""
    return max(3, 2 * silos // 3 + 1)


def new_session(
    aggregator: bytes,
    members: Sequence[bytes],
    *,
    length: int,
    content: bytes,
    threshold: int | None = None,
    colluders: int | None = None,
) -> Session:
    """A session with a fresh identifier; see `Session` for the arguments.

    Args:
      aggregator: verifying key.
      members: verifying keys.
      length: integers in a vector.
      content: what they mean.
      threshold: None for `default_threshold`, or more if the colluders require it.
      colluders: None for as many as the threshold tolerates.

    Raises:
      ValueError: the protocol guarantees nothing under these parameters.
    """
    silos = len(members)
    if threshold is None:
        threshold = default_threshold(silos)
        if colluders is not None:
            threshold = max(threshold, least_threshold(silos, colluders))
    if colluders is None:
        colluders = most_colluders(silos, threshold)
    return Session(
        os.urandom(16),
        aggregator,
        tuple(members),
        threshold,
        colluders,
        length,
        content,
    )


def new_identity(random: Callable[[int], bytes] = os.urandom) -> tuple[bytes, bytes]:
    """A signing key, to be kept secret, and its verifying key, to be published."""
    signing_key = random(KEY_BYTES)
    return signing_key, verifying_key(signing_key)
