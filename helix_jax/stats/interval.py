"""An estimate and its interval."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # tables of numbers need no jax
    from helix_jax.types import Array


ENDS = ("", "_low", "_high")  # suffixes of the three numbers, where they have names


class Interval(NamedTuple):
    """An estimate and its interval: floats of a bootstrap, arrays [...] of seeds.

    Attributes:
      value: of all rows.
      low: lower end.
      high: upper end.
    """

    value: "float | Array"
    low: "float | Array"
    high: "float | Array"


def estimate_of(number: float | Interval) -> float:
    """A number, without its interval if it has one."""
    return float(number.value if isinstance(number, Interval) else number)
