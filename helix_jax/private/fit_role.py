"""The provider's part in an encrypted fit: from encrypted rows to a cross-covariance.

Every residue of the result is a product of an integer matrix with the matrix of the
ciphertexts' residues; see `fit_products`.

The provider's rows are protected from the client by the masks of `flooding`, as a
layer's weights are. What the result itself reveals is bounded: the flood leaves
`precision` bits in each of its d_x d_y numbers, whatever the client has encrypted as X,
and the guard requires rows that hold several times as many bits.
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
    """The owner of target rows in one encrypted fit; `FitProvider` can also save it.

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
          y: [n, d_y] float, finite; or rows of `prepare_rows`, which many fits can
            share and which carry their own names and privacy.
          ids: [n] names of the rows; the client's must be the same in the same order.
          profile: name of the parameters.
          precision: the most bits that one number of the result carries, from 8 to 20;
            None for what is left after hiding the errors, about 20. Profiles that are
            not guarded have no flood and protect no rows.
          share: the guard: a fit is refused if its results, with those of the client's
            earlier fits on the same rows, could carry more than this share of the
            rows' bits (`held_bits`). The client can choose which rows it learns these
            bits of: if it encrypts zeros for all rows but d_x, it reads those rows to
            their first `precision` bits.
          privacy: differential privacy of the rows, whose norms must then be at most 1
            (`unit_rows`); None for none. It holds for clients that follow the protocol,
            and covers all that the clients of the ledger receive of the same rows.
          identity: who the client is, for the ledger: a name that it cannot choose.
          ledger: the record of what was given out before, to which this fit adds. None
            creates one in memory, or in the folder of `save` and `restore`; it does not
            count fits elsewhere.
          admission: its tickets say who the client is, in place of `identity`.

        Raises:
          ValueError: a shape or value is not allowed.
          RuntimeError: the device computes wrong results, see `self_test`.
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
          bundle: the client's, or the key that was read from it.
          ticket: from the admission, if there is one; register again to renew it.

        Raises:
          ProtocolError: one of them is malformed, or the key's proof does not hold.
          KeyRoleError: another client has registered, or the ticket does not admit this
            key.
        """
        self._turns.require_own()
        return self._admit(PublicKey.admissible(bundle, self.offer.profile), ticket)

    def _admit(self, key: PublicKey, ticket: bytes | None) -> bytes:
        admitted = admit(self._admission, ticket, key.key)
        with self._turns:
            if self._key is not None and self._key.key != key.key:
                raise KeyRoleError(
                    f"this fit belongs to the client key {self._key.key.hex()}, not "
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
        """Whether exactly this message of rows was absorbed under this number."""
        return self._absorbed.has(number, message)

    @one_at_a_time
    def absorb(self, message: bytes) -> None:
        """Multiply one message of encrypted rows.

        Raises:
          ProtocolError: it is malformed, of another fit, out of order, or the guard
            refuses the fit.
          KeyRoleError: no key is registered, or the message is of another key.
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
        """The column means, encrypted for the client, which the intercept needs.

        A column of ones among the client's rows would give the same. The flood leaves
        `precision` bits for the range between a column's largest deviations.

        Raises:
          ProtocolError: the ledger says that it was given before a restart, or the bits
            of this client are spent.
        """
        if self._mean_message is None:
            # Made once: fresh noise on the same means could be averaged out.
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
        """The messages of the cross-covariance, once, after all rows are absorbed.

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
        """The plan, if the bits that the client may still have allow the fit."""
        plan = self._plan_of(width)
        needed = fit_bits.result_bits(self.offer, plan)
        if self._mean_message is None:
            needed += fit_bits.mean_bits(self.offer)
        self._account.require_room(needed, self.offer.rows, width)
        return plan

    def __reduce__(self) -> NoReturn:
        raise TypeError("a FitProvider is not copied or pickled: it answers one fit.")
