"""A silo's side of one sum: five steps, each of which makes one message.

    advertise  ->  share  ->  mask  ->  confirm  ->  reveal

A refused message changes nothing; steps are taken once and in order. The silo never
reveals shares of both secrets of another silo, and reveals none before enough silos
have signed the same list of survivors.

Reference: Bonawitz et al. 2017, CCS, figure 4, with the steps for active adversaries.
"""

import os
from collections.abc import Callable, Collection
from typing import NoReturn

import numpy as np

from helix_jax.errors import KeyRoleError, ProtocolError
from helix_jax.private import signatures
from helix_jax.private.aggregation import bodies, messages, primitives, shamir
from helix_jax.private.aggregation.int128 import require_words
from helix_jax.private.aggregation.masking import (
    add_pair_mask,
    add_self_mask,
    seed_commitment,
    share_key,
)
from helix_jax.private.aggregation.messages import AGGREGATOR, Kind
from helix_jax.private.aggregation.past_sums import record_sum, were_summed
from helix_jax.private.aggregation.session import Session
from helix_jax.private.aggregation.silo_keys import SiloKeys, read_all_keys
from helix_jax.private.ledger import Ledger
from helix_jax.private.turns import Turns, one_at_a_time

STEPS = ("advertise", "share", "mask", "confirm", "reveal")


class Silo:
    """The role of one silo in one session; it is used for no other session.

    Args:
      session: the parameters that all sides agreed on.
      number: which member this silo is, from 1.
      signing_key: its identity's private half, 32 bytes.
      words: [2, session.length] uint64, its vector; see `encode`.
      rows: names the vector's rows, the same in every session and format:
        `name_moments`, or a hash of their sorted ids.
      ledger: of the rows that have left this silo, in a file that outlasts it. None
        records nothing, for rehearsals.
      again: the rows may have been in a sum before. All silos of the session have to
        set it: two sums over sets that differ by one silo reveal its vector, so set it
        only if the earlier sum came to no total, or was of the same silos.
      random: n -> n random bytes. Anything but the operating system's generator is
        for tests.

    Raises:
      KeyRoleError: the signing key is not that member's.
      ValueError: `words` has another shape or dtype.
      ProtocolError: the rows were in a sum before, and `again` is not set.
    """

    def __init__(
        self,
        session: Session,
        number: int,
        signing_key: bytes,
        words: np.ndarray,
        *,
        rows: bytes,
        ledger: Ledger | None,
        again: bool = False,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        if number not in session.numbers or (
            signatures.verifying_key(signing_key) != session.members[number - 1]
        ):
            raise KeyRoleError(
                f"Silo: the signing key is not that of member {number} of the session. "
                "Give the key whose public half is in Session.members."
            )
        require_words("Silo", words, session.length)
        if not again and were_summed(ledger, rows):
            raise ProtocolError(
                f"Silo: the rows {rows.hex()[:16]} of member {number} were in a sum "
                "before. A second one without one of its silos, or with one more, "
                "gives that silo's vector. Give again=True only if the first came to "
                "no total, or was of the same silos and rows; all silos have to."
            )
        self.number = number
        self._rows, self._ledger, self._again = rows, ledger, bool(again)
        self._turns = Turns(f"silo {number}")
        self._session = session
        self._signing_key = signing_key
        self._words = words
        self._random = random
        self._step = 0
        self._shares: dict[int, bytes] = {}

    @one_at_a_time
    def advertise(self) -> bytes:
        """Draw the secrets of this session; returns KEYS."""
        self._turn("advertise")
        self._private_key = self._random(primitives.KEY_BYTES)
        self._mask_key = self._random(primitives.KEY_BYTES)
        self._seed = self._random(shamir.SECRET_BYTES)
        keys = SiloKeys(
            primitives.public_key(self._private_key),
            primitives.public_key(self._mask_key),
            seed_commitment(self.number, self._seed, session=self._session.digest),
            self._again,
        )
        self._keys_sent = self._write(Kind.KEYS, keys.to_bytes())
        self._step += 1
        return self._keys_sent

    @one_at_a_time
    def share(self, data: bytes) -> bytes:
        """Take ALL_KEYS; returns SHARES, this silo's secrets split and sealed."""
        self._turn("share")
        body = self._read(data, Kind.ALL_KEYS)
        signed, body = bodies.take_table(self._session, body, messages.KEYS_BYTES)
        bodies.take_all(body)
        self._require_enough("advertised keys", signed)
        if signed.get(self.number) != self._keys_sent:
            raise ProtocolError(f"silo {self.number}: ALL_KEYS lacks the keys it sent.")
        keys = read_all_keys(self._session, signed)
        self._require_all_again(keys)
        parties, threshold = sorted(keys), self._session.threshold
        split = [
            shamir.split(secret, parties, threshold=threshold, random=self._random)
            for secret in (self._seed, self._mask_key)
        ]
        pairs = {k: split[0][k] + split[1][k] for k in parties}
        own_shares = pairs.pop(self.number)
        sealed = {
            k: primitives.seal(self._share_key(keys, self.number, k), pair)
            for k, pair in pairs.items()
        }
        self._keys, self._shares[self.number] = keys, own_shares
        self._step += 1
        return self._write(Kind.SHARES, bodies.pack_table(self._session, sealed))

    @one_at_a_time
    def mask(self, data: bytes) -> bytes:
        """Take SHARES_FOR; returns MASKED, the vector under all its masks."""
        self._turn("mask")
        body = self._read(data, Kind.SHARES_FOR)
        sealed, body = bodies.take_table(self._session, body, messages.SEALED_BYTES)
        bodies.take_all(body)
        if not sealed.keys() <= self._keys.keys() - {self.number}:
            raise ProtocolError(
                f"silo {self.number}: shares come from {sorted(sealed)}, keys came "
                f"from {sorted(self._keys)}."
            )
        self._require_enough("shared secrets", {*sealed, self.number})
        shares = {}
        for k, one in sealed.items():
            pair = primitives.unseal(self._share_key(self._keys, k, self.number), one)
            if pair is None:
                raise ProtocolError(
                    f"silo {self.number}: the shares of silo {k} were altered, or "
                    "sealed for another silo: do not go on without them."
                )
            shares[k] = pair
        digest, words = self._session.digest, self._words.copy()
        add_self_mask(words, self.number, self._seed, session=digest)
        for k in shares:
            public = self._keys[k].masking
            add_pair_mask(words, self.number, self._mask_key, k, public, session=digest)
        record_sum(self._ledger, self._rows, self._session, again=self._again)
        self._shares |= shares
        del self._words, self._seed, self._mask_key, self._private_key
        self._step += 1
        return self._write(Kind.MASKED, bodies.pack_words(words))

    @one_at_a_time
    def confirm(self, data: bytes) -> bytes:
        """Take SURVIVORS; returns CONFIRM, the signed list."""
        self._turn("confirm")
        body = self._read(data, Kind.SURVIVORS)
        survivors, body = bodies.take_set(self._session, body)
        bodies.take_all(body)
        if self.number not in survivors or not survivors <= self._shares.keys():
            raise ProtocolError(
                f"silo {self.number}: the survivors {sorted(survivors)} need to "
                f"include this silo and be among {sorted(self._shares)}."
            )
        self._require_enough("sent masked vectors", survivors)
        self._survivors = survivors
        self._step += 1
        return self._write(Kind.CONFIRM, bodies.pack_set(self._session, survivors))

    @one_at_a_time
    def reveal(self, data: bytes) -> bytes:
        """Take REQUEST; returns REVEAL, one share for each silo that shared secrets.

        Raises:
          KeyRoleError: the request is not for exactly the survivors' seeds and the
            other silos' mask keys.
          ProtocolError: the message is malformed, or too few silos signed this list.
        """
        self._turn("reveal")
        body = self._read(data, Kind.REQUEST)
        seeds, body = bodies.take_set(self._session, body)
        keys, body = bodies.take_set(self._session, body)
        signed, body = bodies.take_table(
            self._session, body, messages.confirm_bytes(self._session)
        )
        bodies.take_all(body)
        bodies.require_one_share(seeds, keys)
        gone = self._shares.keys() - self._survivors
        if seeds != self._survivors or keys != gone:
            raise KeyRoleError(
                f"silo {self.number}: gives the seeds of {sorted(self._survivors)}, as "
                f"confirmed, and the mask keys of {sorted(gone)}; was asked for those "
                f"of {sorted(seeds)} and {sorted(keys)}."
            )
        for k, one in signed.items():
            self._require_confirmed(k, one)
        self._require_enough("confirmed the survivors", signed)
        seed_shares = {k: self._shares[k][: shamir.SHARE_BYTES] for k in seeds}
        key_shares = {k: self._shares[k][shamir.SHARE_BYTES :] for k in keys}
        self._shares = {}
        self._step += 1
        return self._write(
            Kind.REVEAL,
            bodies.pack_table(self._session, seed_shares),
            bodies.pack_table(self._session, key_shares),
        )

    def _turn(self, step: str) -> None:
        if self._step >= len(STEPS) or STEPS[self._step] != step:
            now = STEPS[self._step] if self._step < len(STEPS) else "nothing"
            raise KeyRoleError(
                f"silo {self.number}: {step} out of turn, {now} is next. Every step is "
                "taken once; a new sum needs a new Session and a new Silo."
            )

    def _write(self, kind: Kind, *parts: bytes | memoryview) -> bytes:
        return messages.write(
            self._session, self._signing_key, kind, *parts, sender=self.number
        )

    def _read(self, data: bytes, kind: Kind) -> memoryview:
        return messages.read(self._session, data, kind, recipient=self.number).body

    def _require_all_again(self, keys: dict[int, SiloKeys]) -> None:
        again = [k for k, own in keys.items() if own.again]
        if again and not self._again:
            raise ProtocolError(
                f"silo {self.number}: silos {again} say that their rows were in a sum "
                "before. If this silo was not in it, the two sums differ by this "
                "silo's vector: do not go on, unless again=True is meant here too."
            )

    def _share_key(self, keys: dict, sender: int, recipient: int) -> bytes:
        other = sender if recipient == self.number else recipient
        return share_key(
            self._private_key,
            keys[other].sealing,
            sender,
            recipient,
            self._session.digest,
        )

    def _require_confirmed(self, k: int, signed: bytes) -> None:
        message = messages.read(
            self._session, signed, Kind.CONFIRM, recipient=AGGREGATOR
        )
        survivors, _ = bodies.take_set(self._session, message.body)
        if message.sender != k or k not in survivors or survivors != self._survivors:
            raise ProtocolError(
                f"silo {self.number}: silo {message.sender} confirmed the survivors "
                f"{sorted(survivors)}, this silo {sorted(self._survivors)}. The "
                "aggregator tells silos different things: do not continue."
            )

    def _require_enough(self, what: str, silos: Collection[int]) -> None:
        if len(silos) < self._session.threshold:
            raise ProtocolError(
                f"silo {self.number}: {len(silos)} silos {what}, needs "
                f"{self._session.threshold}."
            )

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Silo is not copied or pickled: it takes each step once.")
