"""The provider's part in an encrypted fit: from encrypted rows to a cross-covariance.

Every residue of the result is a product of an integer matrix with the matrix of the
ciphertexts' residues; see `fit_products`.

The provider's rows are protected from the client by the masks of `flooding`, as a
layer's weights are. What the result itself tells is bounded in bits: the flood leaves
`precision` of them to each of its d_x d_y numbers, whatever the client has encrypted
for X, and the guard asks for rows that hold several times as many.
"""

import math
from collections.abc import Iterable, Iterator
from typing import NoReturn

from helix_jax.errors import KeyRoleError, ProtocolError
from helix_jax.private import fit_answers, fit_bits, fit_noise
from helix_jax.private.accountant import Privacy
from helix_jax.private.accounts import PublicKey, require_current, require_same
from helix_jax.private.admission import Admission, admit
from helix_jax.private.fit_absorbed import Absorbed
from helix_jax.private.fit_account import FitAccount
from helix_jax.private.fit_plan import FitPlan, plan_fit, transcript
from helix_jax.private.fit_targets import TARGETS
from helix_jax.private.ledger import Ledger
from helix_jax.private.offered_rows import offer_rows
from helix_jax.private.policies import PRECISION, SHARE
from helix_jax.private.prepared_rows import PreparedRows
from helix_jax.private.turns import Turns, one_at_a_time
from helix_jax.types import Array

_ANSWERS = 32  # columns of the result masked and sent at once


class FitRole:
    """The owner of target rows in one encrypted fit; `FitProvider` also keeps it.

    Attributes:
      offer: what the client may know.
    """

    def __init__(
        self,
        y: Array | PreparedRows,
        *,
        ids: Iterable[str] | None = None,
        profile: str = "guarded",
        precision: int | None = PRECISION,
        share: float = SHARE,
        privacy: Privacy | None = None,
        identity: str = "",
        ledger: Ledger | None = None,
        admission: Admission | None = None,
    ):
        """Prepare the rows.

        Args:
          y: [n, d_y] float, finite; or rows of `prepare_rows`, which many fits share,
            and which have their names and privacy.
          ids: [n] names of the rows, which the client's must equal in this order.
          profile: name of the parameters.
          precision: bits that one number of the result carries at most, from 8 to 20;
            None for what the hiding of errors leaves, some 20. Profiles that are not
            guarded have no flood and protect no rows.
          share: the guard: fits whose results could carry more than this share of the
            bits of the rows (`held_bits`) are refused, those of the same
            client on the same rows before included. A client may choose of which rows:
            one that encrypts zeros for all rows but d_x reads these, to their first
            `precision` bits.
          privacy: differential privacy of the rows, which need norms of 1 at most then
            (`unit_rows`); None for none. It holds for clients that follow the
            protocol. What all clients of the ledger get of the same rows adds up to it.
          identity: who the client is, for the ledger: a name that it cannot choose.
          ledger: what was given out before, which this fit adds to. None begins one in
            memory, or in the folder of `save` and `restore`: fits elsewhere are not
            counted then.
          admission: whose ticket says who the client is, in place of `identity`.

        Raises:
          ValueError: shapes or values that cannot be.
          RuntimeError: the device computes wrongly, see `self_test`.
        """
        if not share > 0:
            raise ValueError(f"FitProvider: share must be positive, got {share}.")
        self._prepared, self.offer = offer_rows(
            y, ids=ids, profile=profile, precision=precision, privacy=privacy
        )
        guarded = self.offer.profile.guarded
        self._account = FitAccount(
            self._prepared.hashes.subject,
            identity,
            share,
            self._prepared.held_bits if guarded else math.inf,
            self._prepared.privacy,
            ledger or Ledger(),
            own=ledger is None,
        )
        self._admission, self._until = admission, math.inf
        self._turns = Turns("this FitProvider")
        self._key: PublicKey | None = None
        self._absorbed = Absorbed()
        self._mean_message: bytes | None = None

    def register(self, bundle: bytes | PublicKey, ticket: bytes | None = None) -> bytes:
        """Take the public key of the one client of this fit.

        Args:
          bundle: of the client, or the key that was read from it.
          ticket: of the admission, where there is one; a later one may follow.

        Raises:
          ProtocolError: one of them is malformed, or the bundle proves no key.
          KeyRoleError: another client has begun, or the ticket does not admit this key.
        """
        self._turns.require_own()
        return self._admit(PublicKey.admissible(bundle, self.offer.profile), ticket)

    def _admit(self, key: PublicKey, ticket: bytes | None) -> bytes:
        admitted = admit(self._admission, ticket, key.key)
        with self._turns:
            if self._key is not None and self._key.key != key.key:
                raise KeyRoleError(
                    f"this fit is with the client key {self._key.key.hex()}, not "
                    f"{key.key.hex()}; make a FitProvider for each client."
                )
            if self._admission is not None:
                if self._key is not None or self.identity:
                    require_same(admitted.identity, self.identity)
                identity, self._until = admitted
                self._account = self._account._replace(identity=identity)
            self._key = key
        return key.key

    @property
    def identity(self) -> str:
        """The identity of the client, for the ledger."""
        return self._account.identity

    @property
    def next_chunk(self) -> int:
        """The number of the message of rows that is expected next."""
        return len(self._absorbed)

    @one_at_a_time
    def was_absorbed(self, number: int, message: bytes) -> bool:
        """Whether the message of rows of a number was this one, to the byte."""
        return self._absorbed.has(number, message)

    @one_at_a_time
    def absorb(self, message: bytes) -> None:
        """Multiply one message of encrypted rows.

        Raises:
          ProtocolError: it is malformed, of another fit, out of order, or the guard
            refuses the fit.
          KeyRoleError: no key is registered, or it is of another.
        """
        self._absorbed.take(
            message,
            key=self._registered(),
            offer=self.offer,
            rows=self._prepared.rows,
            plan_of=self._guarded_plan,
        )

    @one_at_a_time
    def mean_message(self) -> bytes:
        """The column means, encrypted for the client: the intercept's part.

        It is what a column of ones among the client's rows would give. The flood
        leaves `precision` bits of what lies between the column's largest deviations.

        Raises:
          ProtocolError: the ledger has it: it was given before a restart; or the bits
            of this client are spent.
        """
        if self._mean_message is None:
            # More noise on the same means would average out.
            message = self._mean()
            self._charge_mean(kept=False)
            self._mean_message = message
        return self._mean_message

    def _mean(self) -> bytes:
        return fit_answers.mean_message(self._registered(), self.offer, self._prepared)

    def _charge_mean(self, *, kept: bool) -> None:
        rho, bits = fit_noise.mean_rho(self.offer.rho), fit_bits.mean_bits(self.offer)
        self._account.charge(b"mean", bits, rho, self.offer.number, kept=kept)

    @one_at_a_time
    def results(self) -> Iterator[bytes]:
        """Messages with the cross-covariance, once, when all rows were absorbed.

        Raises:
          ProtocolError: rows are missing, the results were given before, or the bits
            of this client are spent.
        """
        plan = self._absorbed.complete_plan()
        made = self._results(plan, list(self._absorbed.sums))
        self._charge_results(plan, kept=False)
        return made

    def _charge_results(self, plan: FitPlan, *, kept: bool) -> None:
        rho = fit_noise.covariance_rho(self.offer.rho)
        bits = fit_bits.result_bits(self.offer, plan)
        self._account.charge(b"results", bits, rho, self.offer.number, kept=kept)

    def _results(
        self, plan: FitPlan, totals: list[Array], *, masked: bool = True
    ) -> Iterator[bytes]:
        key, absorbed = self._registered(), transcript(self._absorbed.digests)
        for number, sums in enumerate(totals):
            for start in range(0, sums.shape[0], _ANSWERS):
                self._turns.require_own()
                yield fit_answers.covariance_message(
                    sums[start : start + _ANSWERS],
                    number * TARGETS + start,
                    key=key,
                    offer=self.offer,
                    plan=plan,
                    row_bits=self._absorbed.row_bits,
                    binding=absorbed,
                    masked=masked,
                )

    def _registered(self) -> PublicKey:
        if self._key is None:
            raise KeyRoleError(
                "fit: no client key is registered; send its bundle first."
            )
        require_current(self._until)
        return self._key

    def _plan_of(self, width: int) -> FitPlan:
        try:
            return plan_fit(self.offer.rows, width, self.offer.profile)
        except ValueError as wrong:
            raise ProtocolError(f"rows: {wrong}") from wrong

    def _guarded_plan(self, width: int) -> FitPlan:
        """The plan, where the bits that the client may have allow the fit."""
        plan = self._plan_of(width)
        needed = fit_bits.result_bits(self.offer, plan)
        if self._mean_message is None:
            needed += fit_bits.mean_bits(self.offer)
        self._account.require_room(needed, self.offer.rows, width)
        return plan

    def __reduce__(self) -> NoReturn:
        raise TypeError("a FitProvider is not copied or pickled: it answers one fit.")
