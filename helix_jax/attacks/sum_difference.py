"""Recover one silo's moments from the totals of two sums that differ only by that silo.

    total(S) - total(S without k) = the integers that silo k sent,

exactly, however well each sum hides its parts. The silos' ledgers prevent this attack:
the same rows enter only one sum (`aggregation.past_sums`).

Reference: an audit of this protocol; Bonawitz et al. 2017, CCS, leave the choice of
  sums to the application.
"""

import numpy as np

from helix_jax.alignment import Moments
from helix_jax.private.aggregation import MomentsFormat, decode
from helix_jax.private.aggregation.int128 import subtract


def silo_moments(
    larger: np.ndarray, smaller: np.ndarray, layout: MomentsFormat
) -> Moments:
    """Moments of the rows that are in one total and not in the other.

    Args:
      larger: [2, L] uint64, the total with the silo.
      smaller: [2, L] uint64, the total without it.
      layout: of both.

    Raises:
      ProtocolError: the difference is not moments within the bounds.
    """
    words = larger.copy()
    subtract(words, smaller)
    return decode(words, layout)
