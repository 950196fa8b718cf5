"""The numerical tools keep float64 whoever calls them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helix_jax import linalg

DRAWN = np.random.default_rng(0).standard_normal((6, 6))
COVARIANCE = DRAWN @ DRAWN.T


def rebuilt(spectrum):
    """The matrix of a spectrum."""
    values, basis = map(np.asarray, spectrum)
    return (basis * values) @ basis.T


@pytest.mark.parametrize(
    ("call", "want"),
    [
        (
            lambda: linalg.spectrum_of(COVARIANCE).values,
            np.linalg.eigvalsh(COVARIANCE)[::-1],
        ),
        (lambda: rebuilt(linalg.spectrum_of(COVARIANCE)), COVARIANCE),
        (lambda: linalg.product(DRAWN, DRAWN), DRAWN @ DRAWN),
        (
            lambda: linalg.unit_rows(DRAWN),
            DRAWN / np.linalg.norm(DRAWN, axis=1, keepdims=True),
        ),
        (lambda: linalg.laid_out_transpose(DRAWN), DRAWN.T),
        (
            lambda: linalg.rank_threshold(np.abs(DRAWN[0])),
            np.finfo(float).eps * 6 * np.abs(DRAWN[0]).max(),
        ),
        (
            lambda: linalg.rounding_variance(DRAWN[0]),
            (8 * np.finfo(float).eps * DRAWN[0]) ** 2,
        ),
        (
            lambda: np.linalg.inv(linalg.random_orthogonal(jax.random.key(0), 5, 5)),
            np.asarray(linalg.random_orthogonal(jax.random.key(0), 5, 5)).T,
        ),
    ],
    ids=[
        "spectrum_of",
        "basis",
        "product",
        "unit_rows",
        "laid_out_transpose",
        "rank_threshold",
        "rounding_variance",
        "random_orthogonal",
    ],
)
def test_float64_stays_outside_a_wide_function(call, want):
    assert not jax.config.jax_enable_x64
    got = np.asarray(call())
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14 * np.abs(want).max())


def test_float32_stays_float32_under_jit_and_not():
    narrow = jnp.asarray(COVARIANCE, jnp.float32)
    for function in (linalg.spectrum_of, jax.jit(linalg.spectrum_of)):
        assert function(narrow).values.dtype == jnp.float32
    for function in (linalg.product, jax.jit(linalg.product)):
        assert function(narrow, narrow).dtype == jnp.float32
    assert linalg.unit_rows(narrow).dtype == jnp.float32


def test_a_rank_that_only_float64_tells():
    values = np.array([1.0, 1e-9, 0.0])
    assert int(linalg.rank_of(values)) == 2


def test_orthogonal_matrices_are_uniform():
    """No entry leans to a sign, by Haar measure, and all are as large on average."""
    draw = jax.jit(lambda key: linalg.random_orthogonal(key, 4, 3))
    drawn = np.array([draw(key) for key in jax.random.split(jax.random.key(0), 400)])
    np.testing.assert_allclose(drawn.mean(axis=0), 0, atol=5 / np.sqrt(4 * 400))
    np.testing.assert_allclose((drawn**2).mean(axis=0), 1 / 4, atol=0.06)
