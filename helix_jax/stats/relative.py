"""How far an estimate is from the truth, as a share of the truth."""

import numpy as np

from helix_jax import checks


def relative_error(estimate: np.ndarray, truth: np.ndarray) -> float:
    """|estimate - truth| / |truth|, Frobenius norms; an estimate of zero has error 1.

    Args:
      estimate: any shape, float; compared in float64.
      truth: the same shape.

    Raises:
      ValueError: the shapes differ.
    """
    estimate, truth = np.asarray(estimate, float), np.asarray(truth, float)
    checks.require_shape("relative_error", "estimate", estimate, truth.shape)
    return float(np.linalg.norm(estimate - truth) / np.linalg.norm(truth))
