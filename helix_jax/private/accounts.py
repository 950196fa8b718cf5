"""What a provider keeps for its clients: their public keys and whom they belong to."""

import time

from helix_jax.errors import KeyRoleError, ProtocolError
from helix_jax.private import encryption, sampling, signatures, wire
from helix_jax.private.admission import Ticket
from helix_jax.private.labels.desk import Desk
from helix_jax.private.masks import MaskPool
from helix_jax.private.profiles import Profile
from helix_jax.types import Array


class PublicKey:
    """A client's public keys: encryptions for their owner, whose messages it verifies.

    Attributes:
      profile: of the ring.
      key: 16 bytes, its name.
    """

    def __init__(self, bundle: bytes, profile: Profile):
        """Read a client's bundle.

        Raises:
          ProtocolError: it is malformed.
        """
        message = wire.read(bundle, "key", profile, number=wire.UNBOUND)
        starts = signatures.KEY_BYTES, signatures.KEY_BYTES + sampling.SEED_BYTES
        length = starts[1] + wire.residues_length(1, profile)
        wire.expect_sizes(message, (profile.degree, len(profile.primes)), length)
        payload = message.payload
        if wire.key_name(payload) != message.key:
            raise ProtocolError("key: its name is not the hash of its content.")
        self.profile, self.key = profile, message.key
        self._verifying = bytes(payload[: starts[0]])
        seed, rest = bytes(payload[starts[0] : starts[1]]), payload[starts[1] :]
        self._b = wire.unpack_residues(rest, 1, profile, "key")[0]
        self._a = sampling.uniform_residues(seed, (1,), profile, "key")[0]

    def require_signed(self, data: bytes, message: wire.Message) -> wire.Message:
        """See `wire.require_signed`; the message must be of this key."""
        return wire.require_signed(data, message, self._verifying)

    def encrypt_zeros(self, count: int) -> tuple[Array, Array]:
        """See `encryption.encrypt_zeros`."""
        return encryption.encrypt_zeros(self._b, self._a, count, self.profile)


class Account:
    """One client key.

    Attributes:
      key: encrypts masks for it, and verifies its messages.
      pool: its masks, where they are prepared.
      identity: whom it belongs to.
      desk: its labels, where the policy is "label".
    """

    def __init__(
        self,
        key: PublicKey,
        pool: MaskPool | None,
        ticket: Ticket,
        desk: Desk | None = None,
    ):
        self.key, self.pool, self.desk = key, pool, desk
        self.identity, self._until = ticket

    def renew(self, ticket: Ticket) -> None:
        """Take a later ticket.

        Raises:
          KeyRoleError: it is of another identity.
        """
        require_same(ticket.identity, self.identity)
        self._until = max(self._until, ticket.until)

    def require_current(self) -> None:
        """Refuse who has no ticket any more.

        Raises:
          KeyRoleError: it has ended.
        """
        require_current(self._until)


def require_same(identity: str, known: str) -> None:
    """Refuse a key of another identity than it was registered by.

    Raises:
      KeyRoleError: it is another.
    """
    if identity != known:
        raise KeyRoleError(
            f"register: this key belongs to {known!r} here, the ticket is of "
            f"{identity!r}; make a key for each identity."
        )


def require_current(until: float) -> None:
    """Refuse who was admitted until then only.

    Raises:
      KeyRoleError: that has passed.
    """
    if time.time() > until:
        raise KeyRoleError(
            "the ticket of this key has ended; register it with another."
        )
