"""Moments as integers modulo 2^128 whose sums are exact.

With z = (x, y) of width D = dx + dy, a silo of n rows with mean m and covariance C
splits its mean into an integer and a rest, m 2^a = M + d with |d| <= 1/2, and sends

    n,    S = n M 2^a + round(n d 2^a),
    Q = n M M' + round(n (C 2^(2a) + M d' + d M' + d d')),

the matrix as its upper triangle: sums of z and of z z' with 2a bits after the point.
The large products are integer arithmetic, only small terms are rounded, and sums over
silos lose nothing. Totals are split the same way, S / (n 2^a) = c + r with 0 <= r < 1:

    n C 2^(2a) = (Q - n c c') - n (c r' + r c' + r r'),

where the first bracket, in which raw second moments would lose digits to cancellation,
is exact. So one pass is enough, and the result is as accurate as float64 allows.

Budget: let |m| <= X, |C| <= X^2 and n <= R for each of P silos, with X, R and P powers
of two. Then |Q| <= 2 P R X^2 2^(2a) and |S| <= P R X 2^(2a) (the larger one if X < 1)
must be at most 2^126, up to rounding, which determines a. Moments of states within the
bounds may exceed them by rounding: an excess of 2^-16 of a bound is accepted, and |Q|
stays below 2^127.

Reference: ours.
"""

import dataclasses
import json
from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np

from helix_jax import kinds
from helix_jax.alignment.moments import Moments
from helix_jax.arguments import takes
from helix_jax.errors import ProtocolError
from helix_jax.linalg import wide, wide_dtype
from helix_jax.private.aggregation.int128 import (
    add,
    from_float,
    multiply,
    require_words,
    subtract,
    to_float,
    to_integers,
    zeros,
)

_LEAST_FRACTION_BITS = 16
_ROUNDING_BITS = 16  # values may exceed a bound by 2^-16 of it
_FLOAT32_COUNT = 2**24


@dataclasses.dataclass(frozen=True)
class MomentsFormat:
    """Public bounds that determine the scale of the integers.

    Attributes:
      dx, dy: widths of source and target.
      silos: most silos in a sum.
      row_bits: every silo has at most 2^row_bits rows.
      value_bits: no mean exceeds 2^value_bits, and no covariance 2^(2 value_bits).
    """

    dx: int
    dy: int
    silos: int
    row_bits: int = 24
    value_bits: int = 10

    def __post_init__(self) -> None:
        """Refuse bounds that leave no room for a fraction."""
        if min(self.dx, self.dy, self.silos) < 1 or not 0 <= self.row_bits <= 48:
            raise ValueError(f"MomentsFormat: no moments have the bounds {self}.")
        if self.fraction_bits < _LEAST_FRACTION_BITS:
            raise ValueError(
                f"MomentsFormat: {self} leaves {self.fraction_bits} bits after the "
                f"point, needs {_LEAST_FRACTION_BITS}. Lower row_bits or value_bits."
            )

    @property
    def fraction_bits(self) -> int:
        """a: bits after the point of a mean; a covariance has 2a."""
        silo_bits = (self.silos - 1).bit_length()
        largest = self.value_bits + max(self.value_bits, 0)  # of X^2 and X
        return (125 - silo_bits - self.row_bits - largest) // 2

    @property
    def length(self) -> int:
        """Integers in a vector: 1 + D + D (D + 1) / 2."""
        width = self.dx + self.dy
        return 1 + width + width * (width + 1) // 2

    @property
    def content(self) -> bytes:
        """The format in bytes, for a `Session`."""
        record = {"format": "moments 1", **dataclasses.asdict(self)}
        return json.dumps(record, sort_keys=True).encode()


@takes(moments=kinds.MOMENTS)
def encode(moments: Moments, layout: MomentsFormat) -> np.ndarray:
    """Encode a silo's moments as integers.

    Args:
      moments: of this silo's rows, each counted once.
      layout: the public bounds.

    Returns:
      [2, layout.length] uint64.

    Raises:
      ValueError: the widths are not the layout's, the count is not an integer, or a
        value is not finite or is beyond the public bounds.
    """
    values = [np.asarray(value, np.float64) for value in moments]
    count, mean_x, mean_y, cov_xx, cov_xy, cov_yy = values
    if cov_xy.shape != (layout.dx, layout.dy):
        raise ValueError(
            f"encode: moments need widths {layout.dx} and {layout.dy}, got "
            f"{list(cov_xy.shape)}. All silos need states of the same two layers."
        )
    if not (count == np.rint(count) and 0 <= count <= 2**layout.row_bits):
        raise ValueError(
            f"encode: the count needs to be an integer of at most 2^{layout.row_bits}, "
            f"got {count:g}. Leave weights out, or agree on more row_bits."
        )
    if np.asarray(moments.count).dtype == np.float32 and count >= _FLOAT32_COUNT:
        raise ValueError(
            f"encode: a count of {count:g} in float32 may have lost rows; accumulate "
            "where the backend has float64."
        )
    _require_bounded("mean", (mean_x, mean_y), layout.value_bits)
    _require_bounded("covariance", (cov_xx, cov_xy, cov_yy), 2 * layout.value_bits)
    rows, bits = int(count), layout.fraction_bits
    scaled = np.ldexp(np.concatenate([mean_x, mean_y]), bits)
    whole = np.rint(scaled)
    rest, integer = scaled - whole, whole.astype(np.int64)
    words = zeros(layout.length)
    words[0, 0] = rows
    sums = words[:, 1 : 1 + len(whole)]
    sums[:] = from_float(np.ldexp(rows * rest, bits))
    add(sums, multiply(integer, rows << bits))
    for j, part in _triangle(layout):
        if j < layout.dx:
            covariance = np.concatenate([cov_xx[j, j:], cov_xy[j]])
        else:
            covariance = cov_yy[j - layout.dx, j - layout.dx :]
        crossed = whole[j] * rest[j:] + rest[j] * scaled[j:]
        words[:, part] = from_float(rows * (np.ldexp(covariance, 2 * bits) + crossed))
        add(words[:, part], multiply(integer[j:], rows * int(integer[j])))
    return words


@wide
def decode(words: np.ndarray, layout: MomentsFormat) -> Moments:
    """Decode the moments of all silos' rows from the sum of their integers.

    Args:
      words: [2, layout.length] uint64.
      layout: the public bounds.

    Returns:
      Moments in float64, where the backend has it.

    Raises:
      ProtocolError: there are no rows, or the total cannot be a sum of moments within
        the bounds: a silo has not followed the protocol.
    """
    require_words("decode", words, layout.length)
    width, bits = layout.dx + layout.dy, layout.fraction_bits
    rows = int(to_integers(words[:, :1])[0])
    if not 1 <= rows <= layout.silos << layout.row_bits:
        raise ProtocolError(
            f"decode: the total has {rows} rows, needs 1 to "
            f"{layout.silos << layout.row_bits}. A silo did not send moments."
        )
    sums = to_integers(words[:, 1 : 1 + width])  # [D] Python integers of up to 127 bits
    wholes, rests = sums // (rows << bits), sums % (rows << bits)
    most = 2 ** (bits + layout.value_bits)
    if max(abs(wholes)) > most + (most >> _ROUNDING_BITS):
        raise ProtocolError(
            f"decode: a mean of the total exceeds 2^{layout.value_bits}, the public "
            "bound. A silo did not send moments."
        )
    integer, whole = wholes.astype(np.int64), wholes.astype(np.float64)
    rest = (rests / (rows << bits)).astype(np.float64)
    joint = np.empty((width, width))
    for j, part in _triangle(layout):
        scatter = words[:, part].copy()
        subtract(scatter, multiply(integer[j:], rows * int(wholes[j])))
        crossed = whole[j] * rest[j:] + rest[j] * (whole[j:] + rest[j:])
        row = np.ldexp(to_float(scatter) / rows - crossed, -2 * bits)
        joint[j, j:] = joint[j:, j] = row
    # A silo may have rounded a variance of zero to a negative one.
    variance, bound = np.diagonal(joint), 4.0 ** (layout.value_bits + 1)
    if variance.min() < -bound * 2.0**-50 or np.abs(joint).max() > bound:
        raise ProtocolError(
            "decode: a variance of the total is negative, or a covariance beyond the "
            "public bound. A silo did not send moments."
        )
    mean = np.ldexp((sums / rows).astype(np.float64), -2 * bits)
    dx = layout.dx
    parts = (
        rows,
        mean[:dx],
        mean[dx:],
        joint[:dx, :dx],
        joint[:dx, dx:],
        joint[dx:, dx:],
    )
    return Moments(*(jnp.asarray(part, wide_dtype()) for part in parts))


def _triangle(layout: MomentsFormat) -> Iterator[tuple[int, slice]]:
    """Yield (j, place of row j of the upper triangle in the vector)."""
    width = layout.dx + layout.dy
    start = 1 + width
    for j in range(width):
        yield j, slice(start, start + width - j)
        start += width - j


def _require_bounded(name: str, values: tuple[np.ndarray, ...], bits: int) -> None:
    largest = float(np.max([np.max(np.abs(value)) for value in values]))  # or NaN
    if not largest <= 2.0**bits * (1 + 2.0**-_ROUNDING_BITS):
        raise ValueError(
            f"encode: a {name} of this silo is {largest:.8g}, beyond the public bound "
            f"2^{bits}. Agree on more value_bits, or shift all silos' states by one "
            "public vector."
        )
