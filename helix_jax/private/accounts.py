"""A provider's records of its clients: their public keys and owners."""

import time

from helix_jax.errors import KeyRoleError, ProtocolError
from helix_jax.private import encryption, key_proof, sampling, signatures, wire
from helix_jax.private.admission import Ticket
from helix_jax.private.encryption import Seeded
from helix_jax.private.key_proof_sizes import proof_length
from helix_jax.private.labels.desk import Desk
from helix_jax.private.masks import MaskPool
from helix_jax.private.profiles import Profile
from helix_jax.types import Array


class PublicKey:
    """A client's public keys: they encrypt for the client and verify its messages.

    Attributes:
      profile: of the ring.
      public: (seed, b), the encryption key.
      verifying: 32 bytes, the key that verifies the client's signatures.
      key: 16 bytes, its name: a hash of both keys.
      proved: whether the proof was checked, or the profile requires none.
    """

    def __init__(self, public: Seeded, verifying: bytes, profile: Profile):
        """Take an encryption of zero, [1, L, N], without a proof."""
        self.profile, self.public, self.verifying = profile, public, verifying
        self.proved = not profile.guarded
        self._a = sampling.uniform_residues(public.seed, (1,), profile, "key")[0]
        self.key = wire.key_name(self._content())

    @classmethod
    def from_bytes(cls, bundle: bytes, profile: Profile) -> "PublicKey":
        """Read a client's bundle and, in a guarded profile, check its proof.

        Raises:
          ProtocolError: it is malformed, or its proof does not hold.
        """
        message = wire.read(bundle, "key", profile, number=wire.UNBOUND)
        starts = signatures.KEY_BYTES, signatures.KEY_BYTES + sampling.SEED_BYTES
        end = starts[1] + wire.residues_length(1, profile)
        length = end + proof_length(profile) * profile.guarded
        wire.expect_sizes(message, (profile.degree, len(profile.primes)), length)
        content, proof = message.payload[:end], message.payload[end:]
        if wire.key_name(content) != message.key:
            raise ProtocolError("key: its name is not the hash of its content.")
        verifying, seed = content[: starts[0]], content[starts[0] : starts[1]]
        first = wire.unpack_residues(content[starts[1] :], 1, profile, "key")
        key = cls(Seeded(bytes(seed), first), bytes(verifying), profile)
        if profile.guarded:
            key_proof.verify(key.public, proof, profile, owner=key.verifying)
            key.proved = True
        return key

    @classmethod
    def admissible(cls, bundle: "bytes | PublicKey", profile: Profile) -> "PublicKey":
        """The key that a provider may register, from a bundle or read from one before.

        Raises:
          ProtocolError: as `from_bytes`, or the key is of another profile or unproved.
        """
        if not isinstance(bundle, PublicKey):
            return cls.from_bytes(bundle, profile)
        if bundle.profile != profile or not bundle.proved:
            raise ProtocolError(
                f"key: it is of profile {bundle.profile.name!r} and "
                f"{'proved' if bundle.proved else 'not proved'}; read a bundle of "
                f"profile {profile.name!r} with PublicKey.from_bytes."
            )
        return bundle

    def to_bytes(self, proof: bytes = b"") -> bytes:
        """The bundle that `from_bytes` reads."""
        return wire.write(
            "key",
            self.profile,
            key=self.key,
            number=wire.UNBOUND,
            sizes=(self.profile.degree, len(self.profile.primes)),
            payload=self._content() + proof,
        )

    def _content(self) -> bytes:
        first = wire.pack_residues(self.public.first, self.profile)
        return self.verifying + self.public.seed + first

    def require_signed(self, data: bytes, message: wire.Message) -> wire.Message:
        """See `wire.require_signed`; the message must be of this key."""
        return wire.require_signed(data, message, self.verifying)

    def encrypt_zeros(self, count: int) -> tuple[Array, Array]:
        """See `encryption.encrypt_zeros`."""
        return encryption.encrypt_zeros(
            self.public.first[0], self._a, count, self.profile
        )


class Account:
    """A provider's record of one client key.

    Attributes:
      key: the public key, which encrypts masks and verifies messages.
      pool: its prepared masks; None if none are prepared.
      identity: of the client that the key belongs to.
      desk: its labels if the policy is "label"; otherwise None.
      budget: bits that its owner may have; None for the provider's own budget.
    """

    def __init__(
        self,
        key: PublicKey,
        pool: MaskPool | None,
        ticket: Ticket,
        desk: Desk | None = None,
        budget: float | None = None,
    ):
        self.key, self.pool, self.desk, self.budget = key, pool, desk, budget
        self.identity, self._until = ticket

    def renew(self, ticket: Ticket) -> None:
        """Accept another ticket for this key; the later expiry counts.

        Raises:
          KeyRoleError: the ticket is of another identity.
        """
        require_same(ticket.identity, self.identity)
        self._until = max(self._until, ticket.until)

    def require_current(self) -> None:
        """Refuse a client whose ticket has expired.

        Raises:
          KeyRoleError: the ticket has expired.
        """
        require_current(self._until)


def require_same(identity: str, known: str) -> None:
    """Refuse a ticket whose identity is not the one that the key belongs to.

    Raises:
      KeyRoleError: the identities differ.
    """
    if identity != known:
        raise KeyRoleError(
            f"register: this key belongs to {known!r} here, the ticket is of "
            f"{identity!r}; make a key for each identity."
        )


def require_current(until: float) -> None:
    """Refuse a client whose ticket ended at `until`, in seconds since 1970.

    Raises:
      KeyRoleError: that time has passed.
    """
    if time.time() > until:
        raise KeyRoleError(
            "the ticket of this key has expired; register it with another."
        )
