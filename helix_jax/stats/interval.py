"""An estimate and its interval."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # not for this alone: tables of numbers need no jax
    from helix_jax.types import Array


ENDS = ("", "_low", "_high")  # behind a name, where the three of one stand apart


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
