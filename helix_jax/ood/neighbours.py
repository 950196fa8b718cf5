"""Distance to the k-th nearest of the rows that a classifier was trained on.

score = |z - z_(k)| with z = x / |x| and z_(k) the k-th nearest row of the bank.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from helix_jax import checks, kinds
from helix_jax.arguments import takes
from helix_jax.linalg import product, unit_rows
from helix_jax.types import Array


class NeighbourBank(NamedTuple):
    """In-distribution rows.

    Attributes:
      rows: [N, D] float32 unit vectors.
      k: which neighbour.
    """

    rows: Array
    k: int


def fit_neighbours(x: Array, *, k: int = 50) -> NeighbourBank:
    """Keep the rows of the fit split as unit vectors.

    Args:
      x: [N, D] float, states of the fit split.
      k: which neighbour, 1 to N.

    Returns:
      NeighbourBank.

    Raises:
      ValueError: NaN, or fewer than k rows.

    Reference: Sun, Ming, Zhu, Li 2022, arXiv 2204.06507, section 3.
    """
    checks.require_matrix("fit_neighbours", "x", x)
    checks.require_finite("fit_neighbours", "x", x)
    if not 1 <= k <= x.shape[0]:
        raise ValueError(
            f"fit_neighbours: k needs to be from 1 to the {x.shape[0]} rows, got {k}."
        )
    return NeighbourBank(unit_rows(jnp.asarray(x).astype(jnp.float32)), k)


@takes(
    bank=kinds.record(
        "NeighbourBank", "fit_neighbours(x)", FittedDetectors="{}.neighbours"
    ),
    x=kinds.ARRAY,
)
def neighbour_score(
    bank: NeighbourBank, x: Array, *, block_rows: int = 1024, bank_rows: int = 8192
) -> Array:
    """Distance to the k-th nearest known row.

    Memory is one block of distances, block_rows x (bank_rows + k), regardless of the
    number of rows on either side.

    Args:
      bank: NeighbourBank of width D.
      x: [M, D] float. A row that is in the bank is its own first neighbour.
      block_rows: rows scored at once.
      bank_rows: rows of the bank compared at once.

    Returns:
      [M] float32, in [0, 2].

    Raises:
      ValueError: another width, or NaN.
    """
    checks.require_matrix("neighbour_score", "x", x)
    checks.require_width("neighbour_score", "x", x.shape[1], bank.rows.shape[1])
    checks.require_finite("neighbour_score", "x", x)
    if not x.shape[0]:
        return jnp.zeros(0, jnp.float32)
    x = jnp.asarray(x).astype(jnp.float32)
    block_rows = min(block_rows, x.shape[0])
    padded = jnp.pad(x, ((0, -x.shape[0] % block_rows), (0, 0)))
    width = min(bank_rows, bank.rows.shape[0])
    scores = [
        _block(bank.rows, padded[start : start + block_rows], k=bank.k, width=width)
        for start in range(0, padded.shape[0], block_rows)
    ]
    return jnp.concatenate(scores)[: x.shape[0]]


@functools.partial(jax.jit, static_argnames=("k", "width"))
def _block(rows: Array, x: Array, *, k: int, width: int) -> Array:
    z = unit_rows(x)
    missing = -rows.shape[0] % width
    parts = jnp.pad(rows, ((0, missing), (0, 0))).reshape(-1, width, rows.shape[1])
    real = (jnp.arange(rows.shape[0] + missing) < rows.shape[0]).reshape(-1, width)

    def closer(best: Array, part: tuple[Array, Array]) -> tuple[Array, None]:
        known, is_real = part
        cosines = jnp.where(is_real, product(z, known.T), -jnp.inf)
        return jax.lax.top_k(jnp.concatenate([best, cosines], axis=1), k)[0], None

    start = jnp.full((x.shape[0], k), -jnp.inf, rows.dtype)
    best, _ = jax.lax.scan(closer, start, (parts, real))
    return jnp.sqrt(jnp.maximum(2 - 2 * best[:, -1], 0))
