"""Computed numbers against stated bounds, without the rounding of either.

A share, a p-value or a level is a fraction k / n that was rounded to a float. Two such
floats may differ where the fractions are equal: 3 * .05 / 3 is .05000000000000001.
Here each float is taken as the simple fraction that it was rounded from, and fractions
are compared.
"""

from fractions import Fraction
from typing import Any

import numpy as np

_LARGEST = {np.dtype(np.float64): 10**6, np.dtype(np.float32): 10**3}
_NEAR = 1e-5  # the rounding of float32 and a few more steps


def exact_fraction(value: Any) -> Fraction:
    """The fraction that a finite number was rounded from, where it is a simple one.

    Args:
      value: a float64 is taken as the fraction of denominator at most 10^6 to which it
        is the nearest float64, if there is one; a float32 of at most 10^3. Any other
        number is taken exactly.

    Returns:
      The fraction. Between two such fractions lie thousands of floats, so there is at
      most one.
    """
    if isinstance(value, Fraction | int):
        return Fraction(value)
    value = np.asarray(value)[()]
    largest = _LARGEST.get(value.dtype)
    whole = Fraction(value.item())
    if largest is None:
        return whole
    simple = whole.limit_denominator(largest)
    rounded = value.dtype.type(simple.numerator / simple.denominator)
    return simple if rounded == value else whole


def at_most(values: Any, bound: Any) -> Any:
    """Whether values are at or below a bound, as fractions.

    Args:
      values: [...] float or a Fraction; NaN is not.
      bound: a float or a Fraction.

    Returns:
      [...] bool.
    """
    if isinstance(values, Fraction):
        return values <= exact_fraction(bound)
    values, limit = np.asarray(values), float(bound)
    below = np.array(values <= limit)
    near = np.isfinite(values) & (np.abs(values - limit) <= _NEAR * abs(limit))
    for place in np.argwhere(near):
        own = tuple(place)
        below[own] = exact_fraction(values[own]) <= exact_fraction(bound)
    return below[()]
