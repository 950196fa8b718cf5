"""Sums over silos with differential privacy: each silo adds its share of the noise.

A silo has rows in the unit balls (`unit_rows`), sums them to integers, adds discrete
Gaussian noise of its own and enters the masked sum with the result. The total contains
the noise of all silos that stayed. Noise that colluders know does not protect, and
silos that leave add none. So each silo adds 1 / h of the variance, where

    h = threshold - colluders

is the smallest number of silos that stay to the end and keep their noise secret. The
number of rows is public (neighbours replace a row). The guarantee assumes that silos
draw their noise correctly: each one that does not removes its share of the noise, and
no more.

Reference: Kairouz, Liu, Steinke 2021, arXiv 2102.06387.
"""

import dataclasses
import json

import numpy as np

from helix_jax.errors import ProtocolError
from helix_jax.private.accountant import Privacy
from helix_jax.private.aggregation.int128 import multiply, require_words, to_float
from helix_jax.private.aggregation.session import Session
from helix_jax.private.curator import (
    PrivateMoments,
    private_sums,
    read_sums_of,
    sums_length,
)

OWN_SHARE = 0.2  # of rho, for the source's own moments
_ROW_BITS = 24  # at most 2^24 rows in all silos
_MOST = 2.0**62  # bound of a number in the total


@dataclasses.dataclass(frozen=True)
class PrivateFormat:
    """The parameters that all silos agree on.

    Attributes:
      dx, dy: widths of source and target, in their unit balls.
      least: h, the number of silos whose noise must suffice.
      epsilon, delta: of differential privacy for a pair of rows, in the total.
    """

    dx: int
    dy: int
    least: int
    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        """Refuse parameters that give no guarantee."""
        if min(self.dx, self.dy, self.least) < 1:
            raise ValueError(f"PrivateFormat: no moments have the format {self}.")
        self.shares()

    def shares(self) -> tuple[Privacy, Privacy]:
        """The split of the privacy: for y and its products with x, and for x alone."""
        y, own = (
            Privacy(self.epsilon, self.delta, share=part)
            for part in (1 - OWN_SHARE, OWN_SHARE)
        )
        return y, own

    @property
    def length(self) -> int:
        """Integers in a vector: the number of rows, and those of `private_sums`."""
        return 1 + sums_length(self.dx) + self.dy + 1 + self.dx * self.dy

    @property
    def content(self) -> bytes:
        """The format in bytes, for a `Session`."""
        record = {"format": "private moments 1", **dataclasses.asdict(self)}
        return json.dumps(record, sort_keys=True).encode()


def encode_private(
    x: np.ndarray, y: np.ndarray, layout: PrivateFormat, session: Session | None = None
) -> np.ndarray:
    """A silo's sums with its share of the noise; make them only once per set of rows.

    Args:
      x: [n, dx] float64, of norm at most 1.
      y: [n, dy] float64, of norm at most 1.
      layout: of the sum.
      session: of the sum, which must match the layout; None for rehearsals.

    Returns:
      [2, layout.length] uint64.

    Raises:
      ValueError: the widths are not the layout's, a row is longer than 1, delta is
        1 / n or more, or the session has another format or fewer silos whose noise
        counts.
    """
    if session is not None:
        _require_session(layout, session)
    if (x.shape[1], y.shape[1]) != (layout.dx, layout.dy) or len(x) != len(y):
        raise ValueError(
            f"encode_private: needs as many rows of width {layout.dx} as of "
            f"{layout.dy}, got {x.shape} and {y.shape}."
        )
    if len(x) > 2**_ROW_BITS:
        raise ValueError(
            f"encode_private: needs at most 2^{_ROW_BITS} rows, got {len(x)}."
        )
    sums = private_sums(x, y, *layout.shares(), least=layout.least)
    return multiply(np.concatenate([[len(x)], sums]), 1)


def _require_session(layout: PrivateFormat, session: Session) -> None:
    if session.content != layout.content:
        raise ValueError(
            f"encode_private: the session is for the format {session.content!r}, and "
            f"this one is {layout.content!r}; both must be the same."
        )
    counted = session.threshold - session.colluders
    if layout.least > counted:
        raise ValueError(
            f"encode_private: {layout} counts the noise of {layout.least} silos, but "
            f"in the session only {counted} are sure to stay and keep theirs secret."
        )


def decode_private(
    words: np.ndarray, layout: PrivateFormat, *, parties: int
) -> PrivateMoments:
    """Decode the moments of all silos' rows, in the unit balls.

    Args:
      words: [2, layout.length] uint64, the total.
      layout: of the sum.
      parties: number of silos in the total.

    Raises:
      ProtocolError: the total cannot be a sum of such vectors.
    """
    require_words("decode_private", words, layout.length)
    values = to_float(words)
    rows = values[0]
    if not (1 <= rows <= 2**_ROW_BITS and np.abs(values).max() < _MOST):
        raise ProtocolError(
            f"decode_private: the total has {rows:.0f} rows, and numbers up to "
            f"{np.abs(values).max():.3g}. A silo did not send sums of rows."
        )
    return read_sums_of(
        values[1:],
        int(rows),
        (layout.dx, layout.dy),
        *layout.shares(),
        least=layout.least,
        parties=parties,
    )
