"""False discoveries among many tests: adjusted p-values.

With p_(1) <= .. <= p_(m) the sorted p-values,

    q_(i) = min_{j >= i} min(1, c p_(j) m / j),   c = 1 or sum_{i <= m} 1 / i

and calling all tests with q <= a discoveries keeps the expected share of false ones
among them at a or below.

Outside jit q is computed from the fractions that the p-values were rounded from, and
rounded once, so that q <= .05 holds where it holds of the fractions: p = 1/20 three
times has q = .05 and not .05000000000000001. Under jit q is right to rounding.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np

from helix_jax import checks, numeric
from helix_jax.linalg import wide, wide_dtype
from helix_jax.stats.exact import exact_fraction
from helix_jax.types import Array


@wide
def benjamini_hochberg(p_values: Array) -> Array:
    """Adjusted p-values of independent or positively dependent tests (c = 1).

    Args:
      p_values: [...] float in [0, 1], all tests of one family, such as a matrix of
        pairs and layers. NaN marks a test that was not made and stays NaN.

    Returns:
      [...] float64 q-values, never below p.

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

    def harmonic(tests: Any) -> Any:
        places = 1 + jnp.arange(jnp.size(p_values))
        return jnp.sum(jnp.where(places <= tests, 1 / places, 0))

    return _adjusted("benjamini_yekutieli", p_values, harmonic)


def least_discoveries(tests: int, permutations: int, *, rate: float) -> int | None:
    """How many tests need the smallest possible p-value for any to be a discovery.

    Of m tests k have p = 1 / (1 + P): q = m / (k (1 + P)) <= rate, see
    `benjamini_hochberg`.

    Args:
      tests: m.
      permutations: P, on which every p-value is based.
      rate: of false discoveries.

    Returns:
      The least k; None if even k = m is too few.
    """
    least = -(-tests // (exact_fraction(rate) * (1 + permutations)))
    return int(least) if least <= tests else None


def _adjusted(who: str, p_values: Array, factor: Callable[[Any], Any]) -> Array:
    if not checks.is_concrete(p_values):
        return _traced(p_values, factor)
    p = np.asarray(numeric.numbers(who, "p_values", p_values))
    p = p if np.issubdtype(p.dtype, np.floating) else p.astype(np.float64)
    made = ~np.isnan(p)
    known, places = np.unique(p[made], return_inverse=True)
    if known.size and not (known[0] >= 0 and known[-1] <= 1):
        raise ValueError(
            f"{who}: p-values need to be in [0, 1], got {known[0]:g} to {known[-1]:g}."
        )
    tests = int(made.sum())
    scale = exact_fraction(float(factor(tests))) * tests
    # Of equal p-values the last in order has the least q; all have that one.
    last = np.cumsum(np.bincount(places.ravel(), minlength=len(known)))
    least, q = Fraction(1), np.empty(len(known))
    for i in reversed(range(len(known))):
        least = min(least, exact_fraction(known[i]) * scale / int(last[i]))
        q[i] = least
    found = np.full(p.shape, np.nan)
    found[made] = q[places.ravel()]
    return jnp.asarray(found, wide_dtype())


def _traced(p_values: Array, factor: Callable[[Any], Any]) -> Array:
    p = jnp.asarray(p_values, wide_dtype())
    flat = jnp.ravel(p)
    made = ~jnp.isnan(flat)
    tests = jnp.sum(made)
    order = jnp.argsort(jnp.where(made, flat, jnp.inf))
    weights = factor(tests) * tests / (1 + jnp.arange(flat.size))  # 1 exactly at m
    scaled = jnp.minimum(jnp.where(made, flat, 1)[order] * weights, 1)
    scaled = jnp.where(made[order], scaled, 1)
    least = jnp.flip(jnp.minimum.accumulate(jnp.flip(scaled)))
    q = jnp.zeros_like(flat).at[order].set(least)
    return jnp.where(made, q, jnp.nan).reshape(p.shape)
