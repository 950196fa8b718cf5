"""What a client of an encrypted fit may have of the provider's rows, and has had.

Bits are counted by rows, whatever their order, and by client: those of all fits of the
same rows add up. The rho of private rows adds up over all clients of a ledger.
"""

import hashlib
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from helix_jax.errors import AnsweredError, BudgetError
from helix_jax.private import fit_noise
from helix_jax.private.accountant import Privacy
from helix_jax.private.ledger import Ledger

_LEDGER = "ledger.db"
_SORTED = 2**16  # hashes taken up at once
_EVERYONE = "all clients"  # who could put together what they have


class RowHashes(NamedTuple):
    """SHA-256 of rows.

    Attributes:
      fingerprint: of them and their names, in order.
      subject: of them alone, whatever their order.
    """

    fingerprint: bytes
    subject: bytes


def hash_each(block: np.ndarray) -> np.ndarray:
    """SHA-256 [rows, 32] uint8 of each row of a block [rows, d_y] float64."""
    digests = b"".join(hashlib.sha256(row).digest() for row in block)
    return np.frombuffer(digests, np.uint8).reshape(-1, 32)


def join_hashes(each: np.ndarray, width: int, ids: bytes) -> RowHashes:
    """Hashes of all rows.

    Args:
      each: [n, 32] uint8, of `hash_each`.
      width: d_y.
      ids: digest of their names.
    """
    shape = str((len(each), width)).encode()
    words = each.view(">u8")
    order = np.lexsort(words.T[::-1])  # as the bytes are sorted
    named, alone = hashlib.sha256(shape + ids), hashlib.sha256(shape)
    for start in range(0, len(each), _SORTED):
        named.update(each[start : start + _SORTED])
        alone.update(each[order[start : start + _SORTED]])
    return RowHashes(named.digest(), alone.digest())


class FitAccount(NamedTuple):
    """Of one fit's client.

    Attributes:
      subject: of the rows, see `RowHashes`.
      identity: the client's.
      share: of the bits of the rows that it may have.
      held_bits: that the rows hold; infinite where none are protected.
      privacy: of the rows, or None.
      ledger: what was given out.
      own: the ledger is this fit's own, and nowhere kept.
    """

    subject: bytes
    identity: str
    share: float
    held_bits: float
    privacy: Privacy | None
    ledger: Ledger
    own: bool

    @property
    def budget(self) -> float | None:
        """Bits of these rows that a client may have; None where none are protected."""
        if math.isinf(self.held_bits):
            return None
        return self.share * self.held_bits

    def charge(
        self, what: bytes, bits: float, rho: float, number: bytes, *, kept: bool = False
    ) -> None:
        """Write down an answer of a fit, before it leaves.

        Args:
          what: names the answer.
          bits: that it tells at most.
          rho: zCDP of it; of private rows.
          number: of the fit.
          kept: its bytes are on the disk, so that it may have been charged before: the
            same bytes tell nothing more.

        Raises:
          ProtocolError: it is more than is left, or was charged before.
        """
        subject, reference = self._of_everyone, number + what
        privacy = self.privacy
        if privacy and not (kept and self.ledger.has(subject, reference)):
            spent = self.ledger.spent(subject, _EVERYONE)
            fit_noise.require_left(spent, rho, privacy)
        # Its own first: what it may not have costs the others nothing.
        if not (kept and self.ledger.has(self.subject, reference)):
            self.ledger.charge(
                self.subject,
                self.identity,
                bits,
                reference=reference,
                budget=self.budget,
            )
        if privacy and not (kept and self.ledger.has(subject, reference)):
            self.ledger.charge(
                subject, _EVERYONE, rho, reference=reference, budget=privacy.total_rho
            )

    def require_new(self, what: bytes, number: bytes) -> None:
        """Refuse an answer that was charged, and of which no bytes are kept.

        Raises:
          AnsweredError: it was.
        """
        if self.ledger.has(self.subject, number + what):
            raise AnsweredError(
                f"the {what.decode()} of fit {number.hex()} were given before, and are "
                "not kept; start a new fit."
            )

    @property
    def _of_everyone(self) -> bytes:
        """The subject of the rows' privacy."""
        return hashlib.sha256(b"privacy" + self.subject).digest()

    def require_room(self, needed: float, rows: int, width: int) -> None:
        """Refuse a fit that could carry more bits than the client may still have.

        Args:
          needed: bits that it carries at most.
          rows: of the fit.
          width: of its source.

        Raises:
          BudgetError: says how much it could carry, and how much was given.
        """
        if self.budget is None:
            return
        spent = self.ledger.spent(self.subject, self.identity)
        if spent + needed > self.budget:
            raise BudgetError(
                f"rows: a fit of {rows} rows and source width {width} could "
                f"carry {self._share_of(needed):.0%} of the bits of the target's "
                f"rows; {self.share:.0%} are allowed to a client, and "
                f"{self._share_of(spent):.0%} were given before. Use more rows, "
                "project the source to fewer dimensions, or let the provider lower the "
                "precision."
            )

    def _share_of(self, bits: float) -> float:
        """Of the bits that the rows hold, at most all."""
        return 1.0 if bits > self.held_bits else bits / max(self.held_bits, 1e-9)

    def kept_beside(self, folder: Path) -> "FitAccount":
        """With a ledger of its own in the folder, and what that has had so far.

        Raises:
          ProtocolError: it cannot be kept there.
        """
        if not self.own:
            return self
        ledger = Ledger(folder / _LEDGER)
        ledger.take_over(self.ledger)
        return self._replace(ledger=ledger, own=False)
