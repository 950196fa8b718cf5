"""Recover rows from the cross-covariance: what an exact fit reveals to its client.

The client has its rows X and obtains C = X' Y. Its best linear guess of Y is

    X (X' X)^+ C = P Y,   P the projection on the columns of X,

exact for n <= d_x rows, and for many rows the fitted values of least squares: d_x of
the n numbers in each column of Y. For n >> d_x only what any map predicts is left, so
the chance level is the prediction of a map fitted on other rows.

The client may also choose its rows. With x_i = e_i for d_x of the rows and zero for the
others, C is those d_x rows of Y (centred). A guard on the number of rows does not
notice, since the provider sees only ciphertexts.

Reference: docs/threats.md, "What honest results tell", 2 and 3; ours.
"""

import numpy as np


def recover_rows(x: np.ndarray, cross: np.ndarray) -> np.ndarray:
    """P Y from X and X' Y.

    Args:
      x: [n, d_x] float64, the client's rows, centred where the fit centres.
      cross: [d_x, d_y] float64, X' Y.

    Returns:
      [n, d_y] the guess of least norm.
    """
    left, spread, right = np.linalg.svd(x, full_matrices=False)
    keep = spread > spread[0] * 1e-7
    inner = (right[keep] @ cross) / spread[keep, None]
    return left[:, keep] @ inner


def row_errors(guess: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """[n] |guess_i - truth_i| over the root mean square of |truth|."""
    size = np.sqrt(np.mean(np.sum(truth**2, axis=1)))
    return np.linalg.norm(guess - truth, axis=1) / size


def chosen_rows(rows: int, width: int, targets: np.ndarray) -> np.ndarray:
    """Source rows [n, d_x] whose cross-covariance is some rows of the target.

    Args:
      rows: n.
      width: d_x, at least as many as targets.
      targets: indices of the rows to read.

    Raises:
      ValueError: more targets than dimensions.
    """
    if len(targets) > width:
        raise ValueError(f"chosen_rows: {len(targets)} rows need as many dimensions.")
    x = np.zeros((rows, width))
    x[targets, np.arange(len(targets))] = 1.0
    return x
