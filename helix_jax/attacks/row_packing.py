"""Read several rows of a fit from each number of its result, if it is precise enough.

The provider's rows are integers of some 15 bits, and a result that carries more bits
can hold several of them: with a step of 2^-17 between the rows that share a dimension,

    C_i = y_(2 i) + 2^-17 y_(2 i + 1),

C_i rounds to the first integer, and the remainder gives the second. The client centres
its columns, so the last row takes -(1 + 2^-17) in each. The last dimension reads that
row: it has 1 there, and the others, whose target rows sum to minus the last one, have
-1 / (n - 1). With p bits per result, rows can be recovered if p is well above 15 for
each row that shares a number.

Reference: an audit of this protocol; the general bound is that of
`private.flooding`: d_x bits times p of the 15 n that a column has.
"""

from typing import NamedTuple

import numpy as np

STEP_BITS = 17  # between rows of one dimension: an integer, its sign and a half


class Packing(NamedTuple):
    """Source rows that read rows of a target.

    Attributes:
      x: [n, d_x] float64, what the client encrypts.
      shared: rows in each dimension but the last; the first `shared (d_x - 1)` rows
        are read.
    """

    x: np.ndarray
    shared: int


def pack(rows: int, width: int, *, shared: int = 2) -> Packing:
    """Source rows whose cross-covariance holds `shared` rows in each dimension.

    Args:
      rows: n.
      width: d_x.
      shared: rows of the target in each number.

    Raises:
      ValueError: fewer than `shared (width - 1) + 1` rows.
    """
    read = shared * (width - 1)
    if rows < read + 1:
        raise ValueError(
            f"pack: {shared} rows in each of {width - 1} dimensions need {read + 1} "
            f"rows, got {rows}."
        )
    weights = 2.0 ** (-STEP_BITS * np.arange(shared))
    x = np.zeros((rows, width))
    x[:read, :-1] = np.kron(np.eye(width - 1), weights[:, None])
    x[-1, :-1] = -weights.sum()
    x[:, -1] = -1 / (rows - 1)
    x[-1, -1] = 1.0
    return Packing(x, shared)


def unpack(packing: Packing, cross: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """The target's rows, as far as the precision of the results allows.

    Args:
      packing: what was encrypted.
      cross: [d_x, d_y] float64, X' Y of the centred rows.
      exponents: [d_y] of the provider's offer.

    Returns:
      [shared (d_x - 1), d_y] float64, the centred rows that were read.
    """
    cross = np.ldexp(np.asarray(cross, np.float64), -exponents)
    last = np.rint(cross[-1] * (len(packing.x) - 1) / len(packing.x))
    rest = cross[:-1] - packing.x[-1, 0] * last
    found = np.empty((len(rest), packing.shared, rest.shape[1]))
    for place in range(packing.shared):
        # Later rows add less than a half; the last one keeps its fraction.
        whole = place + 1 < packing.shared
        found[:, place] = np.rint(rest) if whole else rest
        rest = np.ldexp(rest - found[:, place], STEP_BITS)
    return np.ldexp(found.reshape(-1, rest.shape[1]), exponents)
