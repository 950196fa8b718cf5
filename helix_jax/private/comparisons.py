"""Differences between results of a private protocol and the same in the clear."""

import numpy as np

from helix_jax.alignment import Moments
from helix_jax.stats import relative_error


def moment_errors(private: Moments, plain: Moments) -> dict[str, float]:
    """Errors of an encrypted cross-covariance and mean.

    Args:
      private: of an encrypted fit without projection.
      plain: of the same rows in the clear.

    Returns:
      relative_error, of the cross-covariance; scaled_error, the same after dividing
      every source dimension by its standard deviation; mean_error, the largest absolute
      error of a target mean.

    Raises:
      ValueError: the widths differ.
    """
    cross, truth = (np.asarray(some.cov_xy, np.float64) for some in (private, plain))
    scales = np.sqrt(np.diag(np.asarray(plain.cov_xx, np.float64)))[:, None]
    mean_gaps = np.asarray(private.mean_y) - np.asarray(plain.mean_y)
    return {
        "relative_error": relative_error(cross, truth),
        "scaled_error": relative_error(cross / scales, truth / scales),
        "mean_error": np.abs(mean_gaps).max(),
    }
