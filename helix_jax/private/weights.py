"""A layer's weights on the provider's side: read in blocks, transformed, partly kept.

Transformed weights take d k / N polynomials of residues, sixteen bytes per weight in
`guarded`. A small layer keeps all of them; a large one keeps as many as fit and makes
the others again for every message of queries, from the original weights. Those are only
read in blocks of columns, so they may be a memory-mapped file.
"""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax.private import packing, residues
from helix_jax.private.packing import Plan
from helix_jax.private.profiles import Profile
from helix_jax.types import Array

_BLOCK = 2**22  # weights read at once
_TOGETHER = 8  # polynomials transformed at once: they stay in the cache


class KernelSizes(NamedTuple):
    """What the scales of a layer depend on.

    Attributes:
      sums: [k] float64, sum of |w| for each class.
      squares: [k] float64, sum of w^2 for each class.
      largest: max |w|.
    """

    sums: np.ndarray
    squares: np.ndarray
    largest: float


def measure_kernel(kernel: Array) -> KernelSizes:
    """The sizes of weights [d, k], read in blocks of columns.

    Raises:
      TypeError, ValueError: they are not finite real numbers.
    """
    width, classes = kernel.shape
    sums, squares, largest = np.zeros(classes), np.zeros(classes), 0.0
    step = max(1, _BLOCK // max(width, 1))
    for start in range(0, classes, step):
        own = slice(start, start + step)
        block = np.asarray(kernel[:, own])
        block = np.abs(packing.check_rows("Provider: kernel", block, block.shape[1]))
        sums[own] = block.sum(axis=0)
        squares[own] = (block**2).sum(axis=0)
        largest = max(largest, float(block.max(initial=0.0)))
    return KernelSizes(sums, squares, largest)


def hash_layer(kernel: Array, bias: np.ndarray) -> bytes:
    """A hash of weights [d, k] and biases [k], whatever their dtypes and storage."""
    found = hashlib.sha256(str(kernel.shape).encode())
    step = max(1, _BLOCK // max(kernel.shape[0], 1))
    for start in range(0, kernel.shape[1], step):
        block = np.asarray(kernel[:, start : start + step]).astype(np.float64)
        found.update(np.ascontiguousarray(block.T + 0.0))  # makes -0.0 and 0.0 equal
    found.update(np.asarray(bias, np.float64) + 0.0)
    return found.digest()


class Weights:
    """The transformed weights, part by part.

    Iterating yields residues [a, T, L, N] for the parts of a plan in order, all of the
    same shape: the last is padded with zeros.
    """

    def __init__(
        self, kernel: Array, bits: int, plan: Plan, profile: Profile, limit_bytes: int
    ):
        """Transform as many parts as may be kept.

        Args:
          kernel: [d, k], anything with a shape and slices that are arrays. If not all
            parts can be kept it stays in use, and must not be changed.
          bits: of its scale.
          plan: of the layer.
          profile: of the ring.
          limit_bytes: memory that the kept parts may take together.
        """
        self._plan, self._profile, self._bits = plan, profile, bits
        part = packing.plan_tiles(
            plan.width, plan.part * plan.rows, profile, plan.tiles
        )
        self._part = part._replace(rows=plan.rows, answers=plan.part)
        self._count, self._kernel = -(-plan.answers // plan.part), kernel
        self._kept: list[Array] = []
        limit = limit_bytes // self.part_bytes
        self._kept = [self._transformed(i) for i in range(min(self._count, limit))]
        if len(self._kept) == self._count:
            self._kernel = None

    @property
    def part_bytes(self) -> int:
        """Bytes of memory of one part."""
        numbers = self._plan.part * self._plan.tiles * self._plan.degree
        width = np.dtype(_residue_dtype(self._profile)).itemsize
        return numbers * len(self._profile.primes) * width

    @property
    def kept_bytes(self) -> int:
        """Bytes of memory of the parts that are kept."""
        return len(self._kept) * self.part_bytes

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Array]:
        yield from self._kept
        for number in range(len(self._kept), self._count):
            yield self._transformed(number)

    def _transformed(self, number: int) -> Array:
        start = number * self._part.classes
        block = np.asarray(self._kernel[:, start : start + self._part.classes])
        missing = self._part.classes - block.shape[1]
        block = np.pad(block.astype(np.float64), ((0, 0), (0, missing)))
        scale = np.float64(2.0**self._bits)
        return _transform_block(block, scale, plan=self._part, profile=self._profile)


def _residue_dtype(profile: Profile) -> type:
    return np.uint32 if max(profile.primes) < 2**32 else np.int64


@residues.exact("plan", "profile")
def _transform_block(
    block: Array, scale: Array, *, plan: Plan, profile: Profile
) -> Array:
    """Weights [d, a r] as residues [a, T, L, N] of their integers, transformed."""
    packed = packing.pack_kernel(jnp.rint(block * scale).astype(jnp.int64), plan)

    def transform(one: Array) -> Array:
        reduced = residues.reduce(one[None, :], residues.column(profile))
        return residues.transform(reduced, profile).astype(_residue_dtype(profile))

    flat = packed.reshape(-1, plan.degree)
    whole = jax.lax.map(transform, flat, batch_size=_TOGETHER)
    return whole.reshape(plan.answers, plan.tiles, len(profile.primes), plan.degree)
