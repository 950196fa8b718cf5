"""The rows that a silo has entered into a sum: no second sum unless permitted.

Two totals over the same rows, for sets of silos that differ by one silo, reveal that
silo's moments exactly, however the totals were made. So a silo records its rows before
its masked vector leaves, and enters no other session with them; see `Silo`.

Reference: ours; the ledger is that of the encrypted layer, `ledger.py`.
"""

import hashlib

import numpy as np

from helix_jax import kinds
from helix_jax.alignment.moments import Moments
from helix_jax.arguments import takes
from helix_jax.errors import ProtocolError
from helix_jax.private.aggregation.session import Session
from helix_jax.private.ledger import Ledger

_NAME_BITS = 16  # of means and variances, relative to the largest
_READERS = "readers of sums over silos"  # everyone who learns a total


@takes(moments=kinds.MOMENTS)
def name_moments(moments: Moments) -> bytes:
    """A name for the rows behind some moments, independent of how they are encoded.

    It is a hash of the count, the means and the variances, these rounded to 16 bits
    relative to the largest, so that it stays the same if the rows are summed in another
    order in float64. With some 300,000 rows or more, changing one row may leave the
    name unchanged: if that matters, or sums are float32, name rows by a hash of their
    sorted ids.

    Args:
      moments: of this silo's rows.

    Returns:
      32 bytes.
    """
    variances = [np.diagonal(part) for part in (moments.cov_xx, moments.cov_yy)]
    digest = hashlib.sha256(b"helix_jax rows of moments 1: ")
    digest.update(int(moments.count).to_bytes(8))
    for mean, variance in zip((moments.mean_x, moments.mean_y), variances):
        mean, variance = (np.asarray(part, np.float64) for part in (mean, variance))
        spread = variance.max(initial=0.0)
        # A mean near zero is rounding error; relative to the spread it rounds to zero.
        largest = max(np.abs(mean).max(initial=0.0), np.sqrt(spread))
        for values, size in ((mean, largest), (variance, spread)):
            unit = int(np.frexp(size)[1]) - _NAME_BITS
            whole = np.rint(np.ldexp(values, -unit)).astype("<i8")
            digest.update(len(whole).to_bytes(8) + whole.tobytes())
    return digest.digest()


def were_summed(ledger: Ledger | None, rows: bytes) -> bool:
    """Whether these rows were sent for a sum; False if there is no ledger."""
    return ledger is not None and ledger.spent(_subject(rows), _READERS) > 0


def record_sum(
    ledger: Ledger | None, rows: bytes, session: Session, *, again: bool
) -> None:
    """Record that these rows are sent for the sum of a session.

    Args:
      ledger: None records nothing.
      rows: their name.
      session: in which they are sent, once.
      again: allow rows that may have been in the sum of another session.

    Raises:
      ProtocolError: they were sent before, in this session or (unless `again`) in any
        other; or the ledger cannot be written.
    """
    if ledger is None:
        return
    bits = 128.0 * session.length  # the most that a total can reveal of them
    try:
        ledger.charge(
            _subject(rows),
            _READERS,
            bits,
            reference=session.digest,
            budget=None if again else bits,
        )
    except ProtocolError as wrong:
        if not were_summed(ledger, rows):
            raise
        raise ProtocolError(
            f"rows {rows.hex()[:16]} have meanwhile left for the sum of this session "
            "or of another. Leave this one."
        ) from wrong


def _subject(rows: bytes) -> bytes:
    return hashlib.sha256(b"helix_jax summed rows 1: " + rows).digest()
