"""The aggregator's side of one sum: it relays, adds masked vectors, removes masks.

    receive every silo's message of the round, then close_round, five times; then total

A round closes with the silos that have answered, if they are enough; the others are
left out from then on. Masked vectors are added as they arrive and not kept.

Reference: Bonawitz et al. 2017, CCS, figure 4, with the steps for active adversaries.
"""

import hmac
import mmap

import numpy as np

from helix_jax.errors import KeyRoleError, ProtocolError
from helix_jax.private import signatures
from helix_jax.private.aggregation import bodies, messages, primitives, shamir
from helix_jax.private.aggregation.int128 import add, zeros
from helix_jax.private.aggregation.masking import (
    add_pair_mask,
    add_self_mask,
    seed_commitment,
)
from helix_jax.private.aggregation.messages import AGGREGATOR, Kind, Message
from helix_jax.private.aggregation.session import Session
from helix_jax.private.aggregation.silo_keys import SiloKeys
from helix_jax.private.turns import Turns, one_at_a_time

ROUNDS = (Kind.KEYS, Kind.SHARES, Kind.MASKED, Kind.CONFIRM, Kind.REVEAL)


class Aggregator:
    """The role of the aggregator in one session.

    Args:
      session: the parameters that all sides agreed on.
      signing_key: its identity's private half, 32 bytes.

    Raises:
      KeyRoleError: the signing key is not that of the session's aggregator.
    """

    def __init__(self, session: Session, signing_key: bytes) -> None:
        if signatures.verifying_key(signing_key) != session.aggregator:
            raise KeyRoleError(
                "Aggregator: the signing key is not that of the session's aggregator. "
                "Give the key whose public half is Session.aggregator."
            )
        self._turns = Turns("the aggregator")
        self._session = session
        self._signing_key = signing_key
        self._round = 0
        self._present = frozenset(session.numbers)
        self._answered: set[int] = set()
        self._signed: dict[int, bytes] = {}
        self._sealed: dict[int, dict[int, bytes]] = {}
        self._revealed: dict[int, tuple[dict[int, bytes], dict[int, bytes]]] = {}
        self._keys: dict[int, SiloKeys] = {}
        self._sharing: frozenset[int] = frozenset()
        self._survivors: frozenset[int] = frozenset()
        self._total = zeros(session.length)

    @property
    def present(self) -> frozenset[int]:
        """Silos that answered in every round that has closed."""
        return self._present

    @property
    def waiting_for(self) -> frozenset[int]:
        """Silos that may still answer in this round."""
        return self._present - self._answered

    @one_at_a_time
    def receive(self, data: bytes | mmap.mmap) -> int:
        """Take one silo's message of this round; returns the silo's number.

        Raises:
          KeyRoleError: all rounds are over.
          ProtocolError: the message is malformed, of another round, repeated, or from a
            silo that was left out; it changes nothing.
        """
        kind = self._kind("receive")
        message = messages.read(self._session, data, kind, recipient=AGGREGATOR)
        if message.sender not in self._present:
            raise ProtocolError(
                f"aggregator: silo {message.sender} was left out of an earlier round; "
                f"{sorted(self._present)} take part."
            )
        if message.sender in self._answered:
            raise ProtocolError(
                f"aggregator: silo {message.sender} has sent {kind.name} already."
            )
        take = {
            Kind.KEYS: self._take_keys,
            Kind.SHARES: self._take_shares,
            Kind.MASKED: self._take_masked,
            Kind.CONFIRM: self._take_confirm,
            Kind.REVEAL: self._take_reveal,
        }[kind]
        take(message, data)
        self._answered.add(message.sender)
        return message.sender

    @one_at_a_time
    def close_round(self) -> dict[int, bytes]:
        """End the round with those who answered; returns the message for each of them.

        After the last round there is nothing to send, and `total` may be called.

        Raises:
          KeyRoleError: all rounds are over.
          ProtocolError: too few silos have answered, and the round stays open; or the
            revealed shares do not give the secrets.
        """
        kind = self._kind("close_round")
        if len(self._answered) < self._session.threshold:
            raise ProtocolError(
                f"aggregator: {len(self._answered)} of {len(self._present)} silos sent "
                f"{kind.name}, needs {self._session.threshold}; waiting for "
                f"{sorted(self.waiting_for)}. Nothing can be unmasked without them. "
                "Silos whose masked vectors have left enter no other session with the "
                "same rows, unless all are told to."
            )
        close = {
            Kind.KEYS: self._close_keys,
            Kind.SHARES: self._close_shares,
            Kind.MASKED: self._close_masked,
            Kind.CONFIRM: self._close_confirm,
            Kind.REVEAL: self._close_reveal,
        }[kind]
        sent = close()
        self._present, self._answered = frozenset(self._answered), set()
        self._signed, self._sealed, self._revealed = {}, {}, {}
        self._round += 1
        return sent

    @one_at_a_time
    def total(self) -> np.ndarray:
        """[2, L] uint64, the sum of the survivors' vectors.

        Raises:
          KeyRoleError: the masks are still on it.
        """
        if self._round < len(ROUNDS):
            raise KeyRoleError(
                f"aggregator: total before the end; {ROUNDS[self._round].name} is "
                "still to come, and until then the sum is uniformly random."
            )
        return self._total.copy()

    @property
    def survivors(self) -> frozenset[int]:
        """Silos whose vectors are in the total; empty before they are known."""
        return self._survivors

    def _take_keys(self, message: Message, data: bytes | mmap.mmap) -> None:
        SiloKeys.from_bytes(bytes(message.body))
        self._signed[message.sender] = bytes(data)

    def _take_shares(self, message: Message, _: bytes | mmap.mmap) -> None:
        sealed, rest = bodies.take_table(
            self._session, message.body, messages.SEALED_BYTES
        )
        bodies.take_all(rest)
        wanted = self._present - {message.sender}
        if sealed.keys() != wanted:
            raise ProtocolError(
                f"aggregator: silo {message.sender} shared its secrets with "
                f"{sorted(sealed)}, needs {sorted(wanted)}."
            )
        self._sealed[message.sender] = sealed

    def _take_masked(self, message: Message, _: bytes | mmap.mmap) -> None:
        add(self._total, bodies.take_words(self._session, message.body))

    def _take_confirm(self, message: Message, data: bytes | mmap.mmap) -> None:
        survivors, rest = bodies.take_set(self._session, message.body)
        bodies.take_all(rest)
        if survivors != self._survivors:
            raise ProtocolError(
                f"aggregator: silo {message.sender} confirmed {sorted(survivors)}, the "
                f"survivors are {sorted(self._survivors)}."
            )
        self._signed[message.sender] = bytes(data)

    def _take_reveal(self, message: Message, _: bytes | mmap.mmap) -> None:
        seeds, rest = bodies.take_table(self._session, message.body, shamir.SHARE_BYTES)
        keys, rest = bodies.take_table(self._session, rest, shamir.SHARE_BYTES)
        bodies.take_all(rest)
        gone = self._sharing - self._survivors
        if seeds.keys() != self._survivors or keys.keys() != gone:
            raise ProtocolError(
                f"aggregator: silo {message.sender} revealed shares of the seeds of "
                f"{sorted(seeds)} and of the keys of {sorted(keys)}, was asked for "
                f"{sorted(self._survivors)} and {sorted(gone)}."
            )
        self._revealed[message.sender] = seeds, keys

    def _close_keys(self) -> dict[int, bytes]:
        self._keys = {
            k: SiloKeys.from_bytes(messages.body_of(data))
            for k, data in self._signed.items()
        }
        table = bodies.pack_table(self._session, self._signed)
        return {k: self._write(Kind.ALL_KEYS, k, table) for k in self._signed}

    def _close_shares(self) -> dict[int, bytes]:
        self._sharing = frozenset(self._sealed)
        sent = {}
        for k in self._sealed:
            table = {j: one[k] for j, one in self._sealed.items() if j != k}
            packed = bodies.pack_table(self._session, table)
            sent[k] = self._write(Kind.SHARES_FOR, k, packed)
        return sent

    def _close_masked(self) -> dict[int, bytes]:
        self._survivors = frozenset(self._answered)
        packed = bodies.pack_set(self._session, self._survivors)
        return {k: self._write(Kind.SURVIVORS, k, packed) for k in self._survivors}

    def _close_confirm(self) -> dict[int, bytes]:
        gone = self._sharing - self._survivors
        request = bodies.pack_request(
            self._session, self._survivors, gone, self._signed
        )
        return {k: self._write(Kind.REQUEST, k, request) for k in self._signed}

    def _close_reveal(self) -> dict[int, bytes]:
        digest = self._session.digest
        seeds = {k: self._combine(0, k) for k in self._survivors}
        keys = {k: self._combine(1, k) for k in self._sharing - self._survivors}
        for k, seed in seeds.items():
            found = seed_commitment(k, seed, session=digest)
            self._require_same(k, found, self._keys[k].commitment)
        for k, key in keys.items():
            found = primitives.public_key(key)
            self._require_same(k, found, self._keys[k].masking)
        for k, seed in seeds.items():
            add_self_mask(self._total, k, seed, session=digest, negative=True)
            public = self._keys[k].masking
            for j, key in keys.items():
                add_pair_mask(
                    self._total, k, key, j, public, session=digest, negative=True
                )
        return {}

    def _combine(self, which: int, k: int) -> bytes:
        shares = {j: revealed[which][k] for j, revealed in self._revealed.items()}
        return shamir.combine(shares, threshold=self._session.threshold)

    def _require_same(self, k: int, found: bytes, promised: bytes) -> None:
        if not hmac.compare_digest(found, promised):
            raise ProtocolError(
                f"aggregator: the shares of a secret of silo {k} do not give what it "
                "advertised: it shared another, or a silo revealed a wrong share. "
                "The total cannot be unmasked."
            )

    def _kind(self, who: str) -> Kind:
        if self._round >= len(ROUNDS):
            raise KeyRoleError(
                f"aggregator: {who} after the last round. A new sum needs a new "
                "Session and a new Aggregator."
            )
        return ROUNDS[self._round]

    def _write(self, kind: Kind, recipient: int, *parts: bytes) -> bytes:
        return messages.write(
            self._session,
            self._signing_key,
            kind,
            *parts,
            sender=AGGREGATOR,
            recipient=recipient,
        )
