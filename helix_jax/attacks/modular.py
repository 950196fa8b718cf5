"""Linear systems modulo a prime, solved exactly and many at once."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax.private import residues
from helix_jax.types import Array


class ModularSolution(NamedTuple):
    """A solution modulo a prime.

    Attributes:
      values: [..., n, J] int64 in (-p / 2, p / 2].
      ok: [...] bool, whether no pivot was zero.
    """

    values: np.ndarray
    ok: np.ndarray


def solve_modular(matrix: np.ndarray, right: np.ndarray, prime: int) -> ModularSolution:
    """Solve matrix @ values = right modulo a prime by Gauss-Jordan elimination.

    Pivots are the diagonal entries, in order. One in p / n systems with uniform
    coefficients has a zero there, which `ok` reports.

    Args:
      matrix: [..., n, n] int64 in [0, p).
      right: [..., n, J] int64 in [0, p).
      prime: p, below 2^56.

    Returns:
      ModularSolution.

    Raises:
      ValueError: the shapes do not fit.
    """
    n = matrix.shape[-1]
    if matrix.shape[-2] != n or right.shape[:-1] != matrix.shape[:-1]:
        raise ValueError(
            f"solve_modular: needs matrix [..., n, n] and right [..., n, J], got "
            f"{list(matrix.shape)} and {list(right.shape)}."
        )
    bits = np.array([int(bit) for bit in bin(prime - 2)[2:]])
    values, ok = _solve(matrix, right, np.array(prime), bits)
    values = np.asarray(values)
    return ModularSolution(centred(values, prime), np.asarray(ok))


def centred(values: np.ndarray, prime: int) -> np.ndarray:
    """Residues in [0, p) as integers in (-p / 2, p / 2]."""
    return np.where(values > prime // 2, values - prime, values)


@residues.exact()
def _solve(
    matrix: Array, right: Array, prime: Array, bits: Array
) -> tuple[Array, Array]:
    n = matrix.shape[-1]
    system = jnp.concatenate([matrix, right], axis=-1)

    def inverse(a: Array) -> Array:
        def square_and_multiply(power: Array, bit: Array) -> tuple[Array, None]:
            power = residues.multiply(power, power, prime)
            factor = jnp.where(bit == 1, a, 1)
            return residues.multiply(power, factor, prime), None

        return jax.lax.scan(square_and_multiply, jnp.ones_like(a), bits)[0]

    def eliminate(i: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        system, ok = state
        row = jax.lax.dynamic_index_in_dim(system, i, -2, keepdims=False)
        pivot = jax.lax.dynamic_index_in_dim(row, i, -1, keepdims=False)
        row = residues.multiply(row, inverse(pivot)[..., None], prime)
        factors = jax.lax.dynamic_index_in_dim(system, i, -1, keepdims=False)
        change = residues.multiply(factors[..., None], row[..., None, :], prime)
        system = residues.subtract(system, change, prime)
        system = jax.lax.dynamic_update_index_in_dim(system, row, i, -2)
        return system, ok & (pivot != 0)

    ok = jnp.ones(matrix.shape[:-2], bool)
    system, ok = jax.lax.fori_loop(0, n, eliminate, (system, ok))
    return system[..., n:], ok
