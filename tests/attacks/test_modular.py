"""Elimination modulo a prime against Python's integers."""

import numpy as np
import pytest

from helix_jax.attacks.modular import solve_modular
from helix_jax.private import PROFILES


@pytest.mark.parametrize("prime", [PROFILES["guarded"].primes[0], 40961])
def test_solutions_are_exact(prime, rng):
    values = rng.integers(-1000, 1000, (3, 12, 2))
    matrix = rng.integers(prime, size=(3, 12, 12))
    right = (matrix.astype(object) @ values.astype(object) % prime).astype(np.int64)
    found = solve_modular(matrix, right, prime)
    assert found.ok.all()
    np.testing.assert_array_equal(found.values, values)


def test_a_zero_pivot_is_told(rng):
    matrix = rng.integers(97, size=(2, 3, 3))
    matrix[1, 2] = matrix[1, 0]
    found = solve_modular(matrix, matrix[..., :1], 97)
    assert found.ok.tolist() == [True, False]


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="needs matrix"):
        solve_modular(np.ones((2, 3), int), np.ones((2, 1), int), 97)
