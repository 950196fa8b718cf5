"""Recover rows of a fit from honest source rows, by lattice reduction.

C = X' Y gives d numbers for the n integers of a column y. For n > d, linear algebra
over the reals leaves n - d directions open. If C is precise, the fact that y holds
small integers closes them: (y, W (X' y - C), M) is a short vector of the lattice
spanned by

    [ I_n   W X    0 ]
    [ 0    -W C'   M ]

Centred columns of X say nothing about the mean of y, but the provider's columns are
centred too.

Reference: Kannan 1987, "Minkowski's convex body theorem and integer programming"
  (embedding); an audit of this protocol. Reduction: fpylll.
"""

import numpy as np

SIZE_BITS = 13  # of a typical integer of the target


def solve_lattice(
    x: np.ndarray, cross: np.ndarray, *, error: float, block: int = 20
) -> np.ndarray | None:
    """Recover one column of the target's integers.

    Args:
      x: [n, d] float64, the client's rows, centred.
      cross: [d] float64, x' y as the provider answered it, in units of the integers.
      error: its standard deviation.
      block: of the BKZ reduction.

    Returns:
      [n] int64, the shortest candidate; None if reduction finds none.

    Raises:
      ImportError: fpylll is missing.
    """
    from fpylll import BKZ, IntegerMatrix

    count, width = x.shape
    weight = 2.0**SIZE_BITS / error
    rows = np.rint(weight * x).astype(object)
    right = np.rint(weight * cross).astype(object)
    mark = 2**SIZE_BITS
    basis = IntegerMatrix(count + 1, count + width + 1)
    for row in range(count):
        basis[row, row] = 1
        for column in range(width):
            basis[row, count + column] = int(rows[row, column])
    for column in range(width):
        basis[count, count + column] = -int(right[column])
    basis[count, count + width] = mark
    BKZ.reduction(basis, BKZ.Param(block))
    for row in range(count + 1):
        sign = basis[row, count + width]
        if abs(sign) == mark:
            found = [basis[row, place] for place in range(count)]
            lost = np.array(found, np.int64) * (1 if sign > 0 else -1)
            return lost - np.rint(lost.mean()).astype(np.int64)
    return None
