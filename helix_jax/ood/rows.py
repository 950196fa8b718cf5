"""Checks of the rows that detectors take, and the spectrum of their second moment."""

import jax.numpy as jnp

from helix_jax import checks
from helix_jax.linalg import Spectrum, product, spectrum_of, wide_dtype
from helix_jax.types import Array


def wide_rows(who: str, x: Array, *, width: int) -> Array:
    """Rows [N, width] in the widest dtype, checked for width and finite values.

    Args:
      who: the caller, for errors.
      x: [N, width] float.
      width: of the fitted detector.

    Raises:
      ValueError: another width, or NaN.
    """
    checks.require_matrix(who, "x", x)
    checks.require_width(who, "x", x.shape[1], width, shape=x.shape)
    checks.require_finite(who, "x", x)
    return jnp.asarray(x).astype(wide_dtype())


def row_spectrum(rows: Array) -> Spectrum:
    """Spectrum of the mean of z z' over rows z [N, D]."""
    return spectrum_of(product(rows.T, rows) / rows.shape[0])
