"""Numerical tools used everywhere: wide arithmetic, products, spectra.

The computing functions are all `wide`: float64 input is computed and returned as
float64, whatever the caller's setting; float32 stays float32.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

import jax
import jax.numpy as jnp

from helix_jax.arguments import native
from helix_jax.types import Array

_P = ParamSpec("_P")
_R = TypeVar("_R")


def has_float64() -> bool:
    """Whether the default backend multiplies float64 in hardware (not on TPU)."""
    return jax.default_backend() != "tpu"


def wide(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Decorate a function to run with float64 enabled, if the backend has it.

    The switch holds inside the function only: importing or calling helix_jax leaves
    the process-wide default at float32. Works on tracers too, under jit, vmap and
    shard_map. Inside, `wide_dtype()` is the dtype to cast to. Arrays are converted to
    this machine's byte order; jit would otherwise misread their bytes.

    A function that reads a caller's stream is not wide itself, only its work on each
    item: the code that makes the items, such as a model's forward pass, keeps the
    caller's setting.
    """

    @functools.wraps(function)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        positions: tuple[Any, ...] = tuple(map(native, args))
        names: dict[str, Any] = {k: native(value) for k, value in kwargs.items()}
        if not has_float64():
            return function(*positions, **names)
        with jax.enable_x64(True):
            return function(*positions, **names)

    return run


def wide_dtype() -> jnp.dtype:
    """float64 inside a `wide` function where the backend has it, else float32."""
    return jnp.result_type(float)


@wide
def product(a: Array, b: Array) -> Array:
    """Matrix product at the full precision of its dtype on every backend."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


@wide
@jax.jit
def first_argmax(values: Array) -> Array:
    """[...] int32 index of the largest of values [..., N], the first among equals.

    Like jnp.argmax, which cannot be traced in a `wide` function and compiled outside.
    """
    places = jnp.arange(values.shape[-1], dtype=jnp.int32)
    largest = values == jnp.max(values, axis=-1, keepdims=True)
    return jnp.min(jnp.where(largest, places, values.shape[-1] - 1), axis=-1)


@wide
@jax.jit
def unit_rows(rows: Array) -> Array:
    """Rows [N, D] divided by their lengths; a zero row stays zero."""
    norms = jnp.linalg.norm(rows, axis=-1, keepdims=True)
    return jnp.where(norms > 0, rows / jnp.where(norms > 0, norms, 1), 0)


@wide
def laid_out_transpose(a: Array) -> Array:
    """a' as a separate array, for products that contract over rows.

    XLA on CPUs takes up to 1.5 times as long to contract over leading rows as to
    multiply by a transpose laid out before (measured, float64).
    """
    return jax.lax.optimization_barrier(a.T)


class Spectrum(NamedTuple):
    """Eigendecomposition of a covariance matrix.

    Attributes:
      values: [D] eigenvalues, descending, not below zero.
      basis: [D, D] eigenvectors in columns.
    """

    values: Array
    basis: Array


@wide
@jax.jit
def spectrum_of(covariance: Array) -> Spectrum:
    """Eigendecomposition of a positive semi-definite matrix, largest value first.

    Args:
      covariance: [D, D], symmetric up to rounding.

    Returns:
      Spectrum. Negative values, which only rounding makes, become zero.
    """
    values, basis = jnp.linalg.eigh((covariance + covariance.T) / 2)
    return Spectrum(jnp.maximum(values[::-1], 0.0), basis[:, ::-1])


@wide
def rank_threshold(values: Array) -> Array:
    """Largest eigenvalue explained by rounding alone: eps * D * max(values)."""
    return jnp.finfo(values.dtype).eps * values.shape[-1] * jnp.max(values)


@wide
def rank_of(values: Array) -> Array:
    """Number of eigenvalues above `rank_threshold`, int32."""
    return jnp.sum(values > rank_threshold(values), dtype=jnp.int32)


@wide
def rounding_variance(mean: Array) -> Array:
    """Variance that rounding alone can give to constant numbers of this mean."""
    return (8 * jnp.finfo(mean.dtype).eps * mean) ** 2


@wide
def random_orthogonal(key: Array, rows: int, columns: int) -> Array:
    """A matrix with orthonormal columns (or rows, if fewer), Haar distributed.

    Args:
      key: jax.random key.
      rows: first dimension.
      columns: second dimension.

    Returns:
      [rows, columns] of wide_dtype().

    Reference: Mezzadri 2007, arXiv math-ph/0609050, section 5.
    """
    tall = (max(rows, columns), min(rows, columns))
    # Drawn as float32: float64 could not be traced here and compiled by a caller's jit.
    drawn = jax.random.normal(key, tall, dtype=jnp.float32)
    q, r = jnp.linalg.qr(drawn.astype(wide_dtype()))
    q = q * jnp.where(jnp.diagonal(r) < 0, -1, 1)
    return q if rows >= columns else q.T
