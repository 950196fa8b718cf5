"""False discoveries among many tests: adjusted p-values.

With p_(1) <= .. <= p_(m) the sorted p-values,

    q_(i) = min_{j >= i} min(1, c p_(j) m / j),   c = 1 or sum_{i <= m} 1 / i

and calling all tests with q <= a discoveries keeps the expected share of false ones
among them at a or below.
"""

import jax.numpy as jnp
import numpy as np

from helix_jax import checks
from helix_jax.linalg import wide, wide_dtype
from helix_jax.types import Array


@wide
def benjamini_hochberg(p_values: Array) -> Array:
    """Adjusted p-values of independent or positively dependent tests (c = 1).

    Args:
      p_values: [...] float in [0, 1], all tests of one family, such as a matrix of
        pairs and layers. NaN marks a test that was not made and stays NaN.

    Returns:
      [...] q-values, never below p.

    Raises:
      ValueError: a p-value outside [0, 1].

    Reference: Benjamini and Hochberg 1995, "Controlling the false discovery rate";
      under positive dependence: Benjamini and Yekutieli 2001, theorem 1.2.
    """
    return _adjusted("benjamini_hochberg", p_values, lambda tests: 1.0)


@wide
def benjamini_yekutieli(p_values: Array) -> Array:
    """Adjusted p-values under any dependence of the tests (c = 1 + 1/2 + .. + 1/m).

    Args:
      p_values: as for `benjamini_hochberg`.

    Returns:
      [...] q-values.

    Raises:
      ValueError: a p-value outside [0, 1].

    Reference: Benjamini and Yekutieli 2001, "The control of the false discovery rate
      in multiple testing under dependency", theorem 1.3.
    """

    def harmonic(tests: Array) -> Array:
        places = 1 + jnp.arange(jnp.size(p_values))
        return jnp.sum(jnp.where(places <= tests, 1 / places, 0))

    return _adjusted("benjamini_yekutieli", p_values, harmonic)


def _adjusted(who: str, p_values: Array, factor) -> Array:
    if checks.is_concrete(p_values):
        known = np.asarray(p_values, np.float64)
        known = known[~np.isnan(known)]
        if known.size and not (known.min() >= 0 and known.max() <= 1):
            raise ValueError(
                f"{who}: p-values need to be in [0, 1], got {known.min():g} to "
                f"{known.max():g}."
            )
    p = jnp.asarray(p_values, wide_dtype())
    flat = jnp.ravel(p)
    made = ~jnp.isnan(flat)
    tests = jnp.sum(made)
    order = jnp.argsort(jnp.where(made, flat, jnp.inf))
    scaled = jnp.where(made, flat, 1)[order] * factor(tests) * tests
    scaled = jnp.minimum(scaled / (1 + jnp.arange(flat.size)), 1)
    scaled = jnp.where(made[order], scaled, 1)
    least = jnp.flip(jnp.minimum.accumulate(jnp.flip(scaled)))
    q = jnp.zeros_like(flat).at[order].set(least)
    return jnp.where(made, q, jnp.nan).reshape(p.shape)
