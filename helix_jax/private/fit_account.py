"""How much a client may learn of a provider's rows by encrypted fits, and has learned.

Bits are counted per client and per set of rows, whatever their order: those of all fits
on the same rows add up. The rho of private rows adds up over all clients of a ledger.
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
_SORTED = 2**16  # hashes per update
_EVERYONE = "all clients"  # who could pool what they receive


class RowHashes(NamedTuple):
    """SHA-256 of rows.

    Attributes:
      fingerprint: of the rows and their names, in order.
      subject: of the rows alone, whatever their order.
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
    order = np.lexsort(words.T[::-1])  # the order of the bytes
    named, alone = hashlib.sha256(shape + ids), hashlib.sha256(shape)
    for start in range(0, len(each), _SORTED):
        named.update(each[start : start + _SORTED])
        alone.update(each[order[start : start + _SORTED]])
    return RowHashes(named.digest(), alone.digest())


class FitAccount(NamedTuple):
    """The account of one fit's client.

    Attributes:
      subject: of the rows, see `RowHashes`.
      identity: the client's.
      share: fraction of the rows' bits that it may have.
      held_bits: bits that the rows hold; infinite if they are not protected.
      privacy: of the rows, or None.
      ledger: records what was given out.
      own: whether the ledger is this fit's own, and not kept on the disk.
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
        """Bits of these rows that a client may have; None if they are not protected."""
        if math.isinf(self.held_bits):
            return None
        return self.share * self.held_bits

    def charge(
        self, what: bytes, bits: float, rho: float, number: bytes, *, kept: bool = False
    ) -> None:
        """Record an answer of a fit before it is sent.

        Args:
          what: names the answer.
          bits: the most that it can reveal.
          rho: its zCDP; counted for private rows.
          number: of the fit.
          kept: whether its bytes are on the disk, so that it may have been charged
            before: the same bytes reveal nothing more.

        Raises:
          ProtocolError: the charge exceeds what is left, or was made before.
        """
        subject, reference = self._of_everyone, number + what
        privacy = self.privacy
        if privacy and not (kept and self.ledger.has(subject, reference)):
            spent = self.ledger.spent(subject, _EVERYONE)
            fit_noise.require_left(spent, rho, privacy)
        # The client's own charge comes first: if refused, it costs the others nothing.
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
        """Refuse an answer that was charged before but whose bytes are not kept.

        Raises:
          AnsweredError: the answer was charged before.
        """
        if self.ledger.has(self.subject, number + what):
            raise AnsweredError(
                f"the {what.decode()} of fit {number.hex()} were given before, and are "
                "not kept; start a new fit."
            )

    @property
    def _of_everyone(self) -> bytes:
        """The ledger's subject for the rows' privacy, which all clients share."""
        return hashlib.sha256(b"privacy" + self.subject).digest()

    def require_room(self, needed: float, rows: int, width: int) -> None:
        """Refuse a fit that could carry more bits than the client may still have.

        Args:
          needed: the most bits that it can carry.
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
                f"rows; a client may have {self.share:.0%}, and "
                f"{self._share_of(spent):.0%} were given before. Use more rows, "
                "project the source to fewer dimensions, or ask the provider to lower "
                "the precision."
            )

    def _share_of(self, bits: float) -> float:
        """The fraction of the rows' bits, at most 1."""
        return 1.0 if bits > self.held_bits else bits / max(self.held_bits, 1e-9)

    def kept_beside(self, folder: Path) -> "FitAccount":
        """This account with its own ledger, charges included, moved into the folder.

        A ledger that was passed in stays where it is.

        Raises:
          ProtocolError: the ledger cannot be kept there.
        """
        if not self.own:
            return self
        ledger = Ledger(folder / _LEDGER)
        ledger.take_over(self.ledger)
        return self._replace(ledger=ledger, own=False)
