"""One silo's moments, from totals of two sums over sets that differ by it.

    total(S) - total(S without k) = the integers that silo k sent,

exactly and however well each sum hid its parts. What stands against it are the silos'
ledgers: the same rows enter one sum only (`aggregation.past_sums`).

Reference: an audit of this protocol; Bonawitz et al. 2017, CCS, leave sums to the
  application.
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
      ProtocolError: no moments within the bounds are their difference.
    """
    words = larger.copy()
    subtract(words, smaller)
    return decode(words, layout)
