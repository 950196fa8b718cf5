"""What a provider keeps for its clients: their public keys, budgets and queries."""

import threading
from collections import OrderedDict

from helix_jax.errors import ProtocolError
from helix_jax.private import encryption, sampling, wire
from helix_jax.private.labels.desk import Desk
from helix_jax.private.masks import MaskPool
from helix_jax.private.profiles import Profile
from helix_jax.types import Array

_REMEMBERED = 100_000  # query numbers kept for each key, to refuse replays


class PublicKey:
    """A client's public key: encryptions for its owner, and nothing else.

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
        length = sampling.SEED_BYTES + wire.residues_length(1, profile)
        wire.expect_sizes(message, (profile.degree, len(profile.primes)), length)
        payload = message.payload
        if wire.key_name(payload) != message.key:
            raise ProtocolError("key: its name is not the hash of its content.")
        self.profile, self.key = profile, message.key
        seed, rest = payload[: sampling.SEED_BYTES], payload[sampling.SEED_BYTES :]
        self._b = wire.unpack_residues(rest, 1, profile, "key")[0]
        self._a = sampling.uniform_residues(bytes(seed), (1,), profile, "key")[0]

    def encrypt_zeros(self, count: int) -> tuple[Array, Array]:
        """See `encryption.encrypt_zeros`."""
        return encryption.encrypt_zeros(self._b, self._a, count, self.profile)


class Account:
    """One client key.

    Attributes:
      key: encrypts masks for it.
      pool: its masks, where they are prepared.
      desk: its labels, where the policy is "label".
      left: queries that it may ask; None is no limit.
    """

    def __init__(
        self,
        key: PublicKey,
        pool: MaskPool | None,
        budget: int | None,
        desk: Desk | None = None,
    ):
        self.key, self.desk = key, desk
        self.pool, self.left = pool, budget
        self.seen: OrderedDict[bytes, None] = OrderedDict()
        self.lock = threading.Lock()

    def charge(self, number: bytes, queries: int) -> None:
        """Count the queries of one message.

        Raises:
          ProtocolError: it was answered before, or the budget is spent.
        """
        with self.lock:
            if number in self.seen:
                raise ProtocolError(
                    f"query {number.hex()} was answered before; encrypt it anew."
                )
            if self.left is not None and self.left < queries:
                raise ProtocolError(
                    f"this key's budget of queries is spent: {self.left} are left, "
                    f"{queries} were asked."
                )
            if self.left is not None:
                self.left -= queries
            self.seen[number] = None
            if len(self.seen) > _REMEMBERED:
                self.seen.popitem(last=False)
