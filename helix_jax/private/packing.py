"""The packing of numbers into coefficients: inner products as one polynomial product.

A tile of m entries of the query is z(X) = sum_j z_j X^j. A polynomial of weights holds
r = N // m rows, reversed: w(X) = sum_i sum_j w_ij X^(i m + m - 1 - j). The coefficient
i m + m - 1 of w z is the inner product of row i with the tile: no rotation, no
key-switching key. Longer queries are split over T tiles, whose products add up.

    answers = ceil(k / r),  up: T ciphertexts,  down: answers,  work: T answers products

Few tiles mean a small query and many answers; traffic is smallest near
T = sqrt(k d / N).

Reference: Huang, Lu, Hong, Ding 2022 (Cheetah), eprint 2022/207, section 4.1.
"""

import math
from typing import NamedTuple

import numpy as np

from helix_jax.private.profiles import Profile

WORD_BYTES = 5  # of one number of an answer, see `words`
MAX_WIDTH = 16_384
MAX_CLASSES = 200_000
MAX_QUERIES = 1024  # in one message
GROUP = 8  # queries computed at once
PART = 32  # most answer ciphertexts computed at once
PART_PRODUCTS = 512  # most polynomials of weights used in them


class Plan(NamedTuple):
    """How a linear layer is cut into ciphertexts.

    Attributes:
      width: d, entries of a query.
      classes: k, results.
      degree: N.
      tiles: T, ciphertexts of a query.
      tile: m, entries of a query in one ciphertext.
      rows: r, results in one answer ciphertext.
      answers: ciphertexts of an answer.
    """

    width: int
    classes: int
    degree: int
    tiles: int
    tile: int
    rows: int
    answers: int

    @property
    def positions(self) -> np.ndarray:
        """[r] coefficients of an answer that hold results."""
        return np.arange(self.rows) * self.tile + self.tile - 1

    @property
    def part(self) -> int:
        """Answer ciphertexts that are computed and sent at once."""
        most = min(PART, max(1, PART_PRODUCTS // self.tiles))
        return -(-self.answers // -(-self.answers // most))

    @property
    def parts(self) -> list[tuple[int, int]]:
        """(answers, results) of the parts of an answer, in order."""
        sizes, classes = [], self.classes
        for start in range(0, self.answers, self.part):
            answers = min(self.part, self.answers - start)
            sizes.append((answers, min(answers * self.rows, classes)))
            classes -= sizes[-1][1]
        return sizes


def plan_tiles(width: int, classes: int, profile: Profile, tiles: int) -> Plan:
    """The plan with a given number of tiles.

    Raises:
      ValueError: the sizes are out of bounds, or there are too few or too many tiles.
    """
    for name, value, most in (
        ("width", width, MAX_WIDTH),
        ("classes", classes, MAX_CLASSES),
    ):
        if not 1 <= value <= most:
            raise ValueError(f"plan: {name} must be from 1 to {most}, got {value}.")
    least, most = -(-width // profile.degree), max_tiles(width, profile)
    if not least <= tiles <= most:
        raise ValueError(
            f"plan: a query of width {width} needs {least} to {most} tiles in profile "
            f"{profile.name!r}, got {tiles}."
        )
    tile = -(-width // tiles)
    rows = min(profile.degree // tile, classes)
    answers = -(-classes // rows)
    return Plan(width, classes, profile.degree, tiles, tile, rows, answers)


def max_tiles(width: int, profile: Profile) -> int:
    """Most tiles a plan may have: sums of that many residues must stay below 2^63."""
    return min(width, 2 ** (62 - max(profile.primes).bit_length()), 256)


def plan_layer(
    width: int, classes: int, profile: Profile, *, minimise: str = "time"
) -> Plan:
    """The plan with the least time or the least traffic.

    Args:
      width: d.
      classes: k.
      profile: of the ring.
      minimise: "time" (encryption, products, masks and decryption on two cores, in
        the measured proportions) or "traffic" (bytes up and down).

    Raises:
      ValueError: the sizes are out of bounds, or `minimise` is neither of the two.
    """
    if minimise not in ("time", "traffic"):
        raise ValueError(
            f"plan: minimise must be 'time' or 'traffic', got {minimise!r}."
        )
    cost = _milliseconds if minimise == "time" else traffic_bytes
    least = -(-width // profile.degree)
    plans = [
        plan_tiles(width, classes, profile, tiles)
        for tiles in range(max(1, least), max_tiles(max(width, 1), profile) + 1)
    ] or [plan_tiles(width, classes, profile, max(1, least))]
    return min(plans, key=lambda plan: (cost(plan, profile), plan.tiles))


def traffic_bytes(plan: Plan, profile: Profile) -> int:
    """Bytes of a query and its answer, without headers."""
    up = plan.tiles * plan.degree * sum(profile.residue_bytes)
    return up + (plan.answers * plan.degree + plan.classes) * WORD_BYTES


def _milliseconds(plan: Plan, profile: Profile) -> float:
    size = len(profile.primes) * plan.degree / 4096
    per_tile = 0.285  # encrypted, read, expanded
    per_answer = 0.165 + 0.205 * profile.guarded  # decrypted; masked
    work = per_tile * plan.tiles + per_answer * plan.answers
    return size * (work + 0.004 * plan.tiles * plan.answers)


def check_rows(where: str, x: np.ndarray, width: int) -> np.ndarray:
    """Rows [n, d] as contiguous float64.

    Raises:
      TypeError: they are not real numbers.
      ValueError: their width is not d, or a value is not finite.
    """
    if x.dtype.kind not in "fiu" and x.dtype.name != "bfloat16":
        raise TypeError(f"{where}: expected real numbers, got {x.dtype}.")
    if x.ndim != 2 or x.shape[1] != width:
        raise ValueError(
            f"{where}: expected width {width}, got shape {list(x.shape[1:])}."
        )
    x = np.ascontiguousarray(x, np.float64)
    if not np.isfinite(x).all():
        raise ValueError(f"{where}: values must be finite, got NaN or infinity.")
    return x


def groups(queries: int) -> list[slice]:
    """Split a message's queries into groups of GROUP, and the rest into single ones.

    Only these two shapes are ever compiled, whatever the number of queries.
    """
    whole = queries // GROUP * GROUP
    return [slice(i, i + GROUP) for i in range(0, whole, GROUP)] + [
        slice(i, i + 1) for i in range(whole, queries)
    ]


def pack_query(x: np.ndarray, plan: Plan) -> np.ndarray:
    """A query as coefficients: [d] to [T, N], zero elsewhere."""
    tiles = np.zeros((plan.tiles, plan.degree), x.dtype)
    padded = np.zeros(plan.tiles * plan.tile, x.dtype)
    padded[: plan.width] = x
    tiles[:, : plan.tile] = padded.reshape(plan.tiles, plan.tile)
    return tiles


def pack_kernel(kernel: np.ndarray, plan: Plan) -> np.ndarray:
    """Weights as coefficients: [d, k] to [answers, T, N], zero elsewhere."""
    xp = kernel.__array_namespace__()  # numpy, or JAX under jit
    missing = plan.tiles * plan.tile - plan.width
    padded = xp.pad(
        kernel, ((0, missing), (0, plan.answers * plan.rows - plan.classes))
    )
    blocks = padded.reshape(plan.tiles, plan.tile, plan.answers, plan.rows)
    rows = blocks[:, ::-1].transpose(2, 0, 3, 1)
    used = plan.rows * plan.tile
    packed = rows.reshape(plan.answers, plan.tiles, used)
    return xp.pad(packed, ((0, 0), (0, 0), (0, plan.degree - used)))


def answer_norms(sums: np.ndarray, plan: Plan, *, order: int) -> np.ndarray:
    """For each result, the norm of all weights in its answer ciphertext: [k] float64.

    A query's errors fill all coefficients of its ciphertexts, so every row of an
    answer's polynomial of weights adds to the noise of every result in that answer.

    Args:
      sums: [k] float64, sum of |w|^order of each class.
      plan: which results share an answer.
      order: 1 or 2, of the norm.
    """
    powers = np.zeros(plan.answers * plan.rows)
    powers[: plan.classes] = sums
    totals = powers.reshape(plan.answers, plan.rows).sum(axis=1) ** (1 / order)
    return np.repeat(totals, plan.rows)[: plan.classes]


def next_power(value: float) -> int:
    """The smallest integer p with 2^p >= value, for a positive value."""
    mantissa, exponent = math.frexp(value)
    return exponent - (mantissa == 0.5)
