"""Read several integer weights of a layer from each result, if it is precise enough.

Weights of B bits are integers w times a unit. A query whose entries are powers of 2^B,

    x_(g i + j) = u 2^(B (g - 1 - j)),   y = u sum_j 2^(B (g - 1 - j)) w_(g i + j),

reads g of them from one result: y rounds to the first, and the remainder gives the
next. With p bits per result, d / g queries recover the d weights of each class if g B
is below p: the number of queries is no bound, the number of bits is. The queries are
within the norm that the layer allows.

Reference: ours; an audit of this protocol read int8 weights from fewer queries than
  dimensions. The bound is that of `private.flooding`: k p bits a query.
"""

from typing import NamedTuple

import numpy as np

from helix_jax.alignment import AffineMap

BITS = 8


class Packing(NamedTuple):
    """Queries that read integer weights.

    Attributes:
      x: [Q, d] float64, of equal norm.
      shared: weights in each result.
    """

    x: np.ndarray
    shared: int


def quantise(affine: AffineMap) -> tuple[np.ndarray, float]:
    """Weights as integers of BITS bits, and their unit: kernel = unit * integers.

    Args:
      affine: kernel [d, k].
    """
    kernel = np.asarray(affine.kernel, np.float64)
    unit = float(np.abs(kernel).max()) / (2 ** (BITS - 1) - 1)
    return np.rint(kernel / unit), unit


def pack(width: int, norm: float, *, shared: int) -> Packing:
    """Queries of this norm that read `shared` weights each.

    Args:
      width: d.
      norm: that the layer allows.
      shared: weights in each result.
    """
    powers = 2.0 ** (BITS * np.arange(shared)[::-1])
    powers *= norm / np.linalg.norm(powers)
    x = np.kron(np.eye(-(-width // shared)), powers)[:, :width]
    return Packing(x, shared)


def unpack(packing: Packing, results: np.ndarray, unit: float) -> np.ndarray:
    """The integers, as far as the precision of the results allows.

    Args:
      packing: the queries.
      results: [Q, k] float64, x W.
      unit: of the weights.

    Returns:
      [d, k] float64 integers.
    """
    width = packing.x.shape[1]
    rest = np.asarray(results, np.float64) / (packing.x[0, 0] * unit)
    found = np.empty((len(rest), packing.shared, rest.shape[1]))
    for place in range(packing.shared):  # later weights add less than a half
        found[:, place] = np.rint(rest)
        rest = (rest - found[:, place]) * 2.0**BITS
    return found.reshape(-1, rest.shape[1])[:width]
