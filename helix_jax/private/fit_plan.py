"""What both sides of an encrypted fit agree on: the layout of rows, and the offer.

A ciphertext holds R = N // m rows of the client, row b in coefficients b m to
b m + m - 1, where m is the width, or one tile of a width above N. The provider rotates
block b to the front by X^(-b m) and multiplies by its own integers:

    C_j = sum_i y_ij x_i  =  first m coefficients of sum_b X^(-b m) sum_g y_(bg)j c_g

Reference: plaintext products of ciphertext rows: Bae, Cheon, Hanrot, Park, Stehle 2024,
  eprint 2024/1284. Several rows per ciphertext: ours.
"""

import dataclasses
import hashlib
import struct
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from helix_jax.errors import ProtocolError
from helix_jax.private import flooding, packing, wire
from helix_jax.private.policies import PRECISIONS
from helix_jax.private.profiles import Profile

MAX_ROWS = 10_000_000
KERNEL_BITS = 15  # of the provider's integers, without sign
MAX_BLOCK_ROWS = 1024  # rows multiplied at once, see `fit_products`
ENERGY_BITS = 12  # of the trace of cov_yy
MEAN_BITS = 24  # of the largest mean, in units of its column
MAX_EXPONENT = 300  # of those units
MAX_MEAN_SCALE = 85  # so that the flood on means has room
_OFFER = struct.Struct("<32shhBdd")
MIN_RHO, MAX_RHO = 1e-18, 1e6  # there is no room for the noise of a smaller rho


class FitPlan(NamedTuple):
    """The layout of rows.

    Attributes:
      rows: n.
      width: d_x of the client's rows.
      degree: N.
      tiles: T, ciphertexts that one row is split over.
      tile: m, entries of a row in one ciphertext.
      blocks: R, rows in one ciphertext.
      groups: ciphertexts (per tile) that hold all rows.
      chunk: groups in one message.
    """

    rows: int
    width: int
    degree: int
    tiles: int
    tile: int
    blocks: int
    groups: int
    chunk: int

    @property
    def chunks(self) -> int:
        """Number of messages that hold all rows."""
        return -(-self.groups // self.chunk)


def plan_fit(rows: int, width: int, profile: Profile) -> FitPlan:
    """The layout of n rows of a width.

    Raises:
      ValueError: the sizes are out of bounds.
    """
    if not 2 <= rows <= MAX_ROWS:
        raise ValueError(f"fit: rows must be from 2 to {MAX_ROWS}, got {rows}.")
    if not 1 <= width <= packing.MAX_WIDTH:
        raise ValueError(
            f"fit: width must be from 1 to {packing.MAX_WIDTH}, got {width}."
        )
    tiles = -(-width // profile.degree)
    tile = -(-width // tiles)
    # Blocks beyond the last row would be empty, and cost as much as full ones.
    blocks = min(profile.degree // tile, MAX_BLOCK_ROWS, rows)
    groups = -(-rows // blocks)
    # About 640 tiles of rows per message make matrix products worth their overhead.
    chunk = min(groups, max(1, 640 // (blocks * tiles)))
    return FitPlan(rows, width, profile.degree, tiles, tile, blocks, groups, chunk)


def pack_rows(x: np.ndarray, plan: FitPlan, start: int) -> np.ndarray:
    """One message's rows in coefficients: float64 [chunk * T, N], zero elsewhere.

    Args:
      x: [n, d_x] all rows.
      plan: layout of the rows.
      start: the message's first group.
    """
    packed = np.zeros((plan.chunk, plan.tiles, plan.degree))
    part = x[start * plan.blocks : (start + plan.chunk) * plan.blocks]
    whole = np.zeros((plan.chunk * plan.blocks, plan.tiles * plan.tile))
    whole[: len(part), : plan.width] = part
    tiled = whole.reshape(plan.chunk, plan.blocks, plan.tiles, plan.tile)
    used = plan.blocks * plan.tile
    in_order = tiled.transpose(0, 2, 1, 3)
    packed[..., :used] = in_order.reshape(plan.chunk, plan.tiles, used)
    return packed.reshape(plan.chunk * plan.tiles, plan.degree)


def rows_digest(ids: Iterable[str] | None) -> bytes:
    """32 bytes that identify the rows and their order; zeros if they have no ids."""
    if ids is None:
        return bytes(32)
    digest = hashlib.sha256()
    for name in ids:
        raw = str(name).encode()
        digest.update(len(raw).to_bytes(8, "little") + raw)
    return digest.digest()


def transcript(digests: Iterable[bytes]) -> bytes:
    """16-byte hash of all messages of rows, from the SHA-256 of each, in order."""
    return hashlib.sha256(b"".join(digests)).digest()[:16]


@dataclasses.dataclass(frozen=True)
class FitOffer:
    """The public description of a provider's rows.

    Attributes:
      profile: parameters of the ring.
      number: 16 bytes that identify this fit; all its messages carry them.
      rows: n.
      digest: of the row ids, see `rows_digest`.
      norm_bits: every integer column's norm is at most 2^norm_bits.
      mean_bits: log2 of the scale of the encrypted means, each in units of
        2^exponents[j].
      energy: trace of cov_yy, for R2, rounded to ENERGY_BITS bits.
      precision: the most bits that one result carries; 0 if no limit was chosen.
      rho: zCDP of the fit, see `fit_noise`; 0 if its rows are not private.
      exponents: [d_y] column j is integers times 2^exponents[j].
    """

    profile: Profile
    number: bytes
    rows: int
    digest: bytes
    norm_bits: int
    mean_bits: int
    precision: int
    energy: float
    rho: float
    exponents: np.ndarray

    @property
    def width(self) -> int:
        """d_y."""
        return len(self.exponents)

    @property
    def means(self) -> int:
        """How many numbers the message of means has; private fits add the energy."""
        return self.width + (self.rho > 0)

    @property
    def flood_bits(self) -> int:
        """log2 R of the flood that leaves `precision` bits in a result; 0: no flood."""
        if not self.precision:
            return 0
        return flooding.coarse_bits(self.precision, self.profile)

    def to_bytes(self) -> bytes:
        """The message that a client reads."""
        payload = _OFFER.pack(
            self.digest,
            self.norm_bits,
            self.mean_bits,
            self.precision,
            self.energy,
            self.rho,
        )
        return wire.write(
            "fit",
            self.profile,
            key=bytes(16),
            number=self.number,
            sizes=(self.rows, self.width),
            payload=payload + self.exponents.astype("<i2").tobytes(),
        )

    @classmethod
    def from_bytes(cls, data: bytes, profile: Profile) -> "FitOffer":
        """Read and check a provider's offer.

        Raises:
          ProtocolError: it is malformed or out of bounds.
        """
        message = wire.read(data, "fit", profile, key=bytes(16))
        rows, width = message.sizes[:2]
        if not (2 <= rows <= MAX_ROWS and 1 <= width <= packing.MAX_WIDTH):
            raise ProtocolError(f"fit: {rows} rows of width {width} are out of bounds.")
        wire.expect_sizes(message, (rows, width), _OFFER.size + 2 * width)
        head = message.payload[: _OFFER.size]
        digest, norm_bits, mean_bits, precision, energy, rho = _OFFER.unpack(head)
        exponents = np.frombuffer(message.payload[_OFFER.size :], "<i2").astype(int)
        if not (
            0 <= norm_bits <= KERNEL_BITS + 13
            and 0 < mean_bits <= MAX_MEAN_SCALE
            and (precision == 0 or (profile.guarded and precision in PRECISIONS))
            and np.abs(exponents).max() <= MAX_EXPONENT
            and 0 <= energy <= width * 4.0 ** (int(exponents.max()) + KERNEL_BITS)
            and (rho == 0 or (profile.guarded and MIN_RHO <= rho <= MAX_RHO))
        ):
            raise ProtocolError(
                f"fit: norms of {norm_bits} bits, means of {mean_bits}, results of "
                f"{precision}, energy {energy} and rho {rho} are out of bounds."
            )
        return cls(
            profile,
            message.number,
            rows,
            digest,
            norm_bits,
            mean_bits,
            precision,
            energy,
            rho,
            exponents,
        )
