"""Exact arithmetic in R_q = Z_q[X] / (X^N + 1) on residues, in JAX.

A polynomial is int64 [..., L, N]: one residue for each of the L primes of q, of each of
its N coefficients or, when transformed, of its values at the odd powers of a primitive
2N-th root psi. Value i is f(psi^(2 rev(i) + 1)), where rev reverses the bits of i and
psi is the smallest root of each prime: Microsoft SEAL's order and root, because the
ciphertexts are SEAL's.

A product of two residues below 2^55 is exact without 128-bit integers: with k the
rounded float64 quotient of a b by p, a b - k p is small, and int64 arithmetic, which
wraps at 2^64, computes it exactly. Transforms leave sums unreduced to the end: a
product is within p of zero, and log2 N of them are added.

Reference: Longa and Naehrig 2016, eprint 2016/504, algorithm 1 (transform); its
  inverse by the transposed cyclic transform. Unreduced sums: Harvey 2014, arXiv
  1205.2926.
  Products by float quotients: Dhem and Quisquater 2000, "Recent results on modular
  multiplications for smart cards", section 3.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax.private.profiles import Profile
from helix_jax.types import Array

_P = ParamSpec("_P")
_R = TypeVar("_R")


def exact(*static: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Decorate a function to run jitted, with 64-bit integers and floats.

    Args:
      static: names of the arguments that are settings, not arrays.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        compiled = jax.jit(function, static_argnames=static)

        @functools.wraps(function)
        def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            with jax.enable_x64(True):
                return compiled(*args, **kwargs)

        return run

    return decorate


class Ring(NamedTuple):
    """Constants of a profile's ring.

    Attributes:
      primes: [L] int64.
      roots: [L, N] int64, psi^rev(i).
      inverse_powers: [L, N] int64, psi^-i.
      last: [L, N] int64, psi^-i / N.
    """

    primes: np.ndarray
    roots: np.ndarray
    inverse_powers: np.ndarray
    last: np.ndarray


@functools.cache
def ring_of(profile: Profile) -> Ring:
    """The constants of a profile's ring."""
    n, tables = profile.degree, []
    for prime in profile.primes:
        psi = smallest_root(prime, n)
        inverse = pow(psi, -1, prime)
        roots = _powers(1, psi, prime, n)[reversed_bits(n)]
        last = _powers(pow(n, -1, prime), inverse, prime, n)
        tables.append((roots, _powers(1, inverse, prime, n), last))
    return Ring(np.array(profile.primes), *(np.stack(table) for table in zip(*tables)))


def _powers(start: int, base: int, prime: int, count: int) -> np.ndarray:
    """[count] int64: start base^i."""
    powers = [start]
    for _ in range(count - 1):
        powers.append(powers[-1] * base % prime)
    return np.array(powers)


def smallest_root(prime: int, degree: int) -> int:
    """The smallest primitive 2N-th root of unity modulo a prime that is 1 modulo 2N."""
    candidates = (pow(g, (prime - 1) // (2 * degree), prime) for g in range(2, prime))
    root = next(r for r in candidates if pow(r, degree, prime) == prime - 1)
    square, power, smallest = root * root % prime, root, root
    for _ in range(degree - 1):
        power = power * square % prime
        smallest = min(smallest, power)
    return smallest


def reversed_bits(n: int) -> np.ndarray:
    """[N] int64: i with its log2 N bits in reverse order."""
    order = np.zeros(1, np.int64)
    while len(order) < n:
        order = np.concatenate([2 * order, 2 * order + 1])
    return order


def add(a: Array, b: Array, primes: Array) -> Array:
    """a + b modulo the primes, for residues; primes broadcasts against them."""
    total = a + b
    return jnp.where(total >= primes, total - primes, total)


def subtract(a: Array, b: Array, primes: Array) -> Array:
    """a - b modulo the primes, for residues."""
    rest = a - b
    return jnp.where(rest < 0, rest + primes, rest)


def multiply(a: Array, b: Array, primes: Array) -> Array:
    """a b modulo the primes, for residues below 2^55; exact."""
    # The quotient is off by at most 2^55 * 2^-51 = 2^4.
    return reduce(_rest(a, b, b * (1.0 / primes), primes), primes)


def reduce(a: Array, primes: Array) -> Array:
    """Reduce any int64 modulo the primes, into [0, p)."""
    quotient = jnp.floor(a.astype(jnp.float64) * (1.0 / primes))
    rest = a - quotient.astype(jnp.int64) * primes
    rest = jnp.where(rest < 0, rest + primes, rest)
    return jnp.where(rest >= primes, rest - primes, rest)


def near_product(a: Array, b: Array, primes: np.ndarray) -> Array:
    """a b modulo p, as a number within p of zero.

    Args:
      a: int64, at most 8 p in magnitude.
      b: int64 residues.
      primes: int64, broadcasts against them; a constant.
    """
    rest = _rest(a, b, b * (1.0 / primes), primes)
    if primes.max() < 2**45:  # k is the nearest integer or the one next to it
        return rest
    # k is off by at most 3 * 2^58 * 2^-53 < 2^7, so rest is below 2^62.
    quotient = jnp.rint(rest.astype(jnp.float64) * (1.0 / primes))
    return rest - quotient.astype(jnp.int64) * primes


def _rest(a: Array, b: Array, ratio: Array, primes: Array) -> Array:
    """a b - k p, where k is about a b / p; ratio is b / p."""
    quotient = jnp.rint(a.astype(jnp.float64) * ratio)
    return a * b - quotient.astype(jnp.int64) * primes


def transform(a: Array, profile: Profile) -> Array:
    """Coefficients [..., L, N] to values: the negacyclic number-theoretic transform."""
    ring, n = ring_of(profile), a.shape[-1]
    for count in [2**i for i in range(n.bit_length() - 1)]:
        factor = ring.roots[:, count : 2 * count, None]
        a = _butterflies(a, factor, (count, 2, n // (2 * count)), ring)
    return reduce(a, column(profile))


def inverse_transform(a: Array, profile: Profile) -> Array:
    """Values [..., L, N] to coefficients."""
    ring, n = ring_of(profile), a.shape[-1]
    for half in [2**i for i in range(n.bit_length() - 1)]:
        factor = ring.inverse_powers[:, None, :: n // half]
        a = _butterflies(a, factor, (n // (2 * half), 2, half), ring)
    return multiply(reduce(a, column(profile)), ring.last, column(profile))


def _butterflies(a: Array, factor: np.ndarray, blocks: tuple, ring: Ring) -> Array:
    """(x, y) to (x + f y, x - f y), not reduced: sums grow by at most p."""
    shape, primes = a.shape, ring.primes[:, None, None]
    pair = a.reshape(*shape[:-1], *blocks)
    low, high = pair[..., 0, :], pair[..., 1, :]
    high = near_product(high, factor, primes)
    pair = jnp.stack([low + high, low - high], axis=-2)
    # Without the barrier XLA fuses the stages and computes each many times over.
    return jax.lax.optimization_barrier(pair).reshape(shape)


def column(profile: Profile) -> np.ndarray:
    """The primes as [L, 1] int64, to broadcast against residues [..., L, N]."""
    return np.array(profile.primes)[:, None]


def scaled_residues(values: np.ndarray, bits: int, profile: Profile) -> np.ndarray:
    """Residues of round(values 2^bits), using every bit of the float64 values.

    Args:
      values: [..., N] float64, finite.
      bits: of the scale, at most 100.
      profile: of the ring.

    Returns:
      [..., L, N] int64.
    """
    high, low, low_bits = split_scaled(values, bits)
    return split_residues(high, low, low_bits, profile)


def split_scaled(values: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray, int]:
    """round(values 2^bits) as (high, low, low_bits): high 2^low_bits + low, int64."""
    values = np.asarray(values, np.float64)
    exponent = int(np.frexp(np.abs(values).max(initial=0.0))[1])
    low_bits = max(0, bits + exponent - 60)
    scaled = np.ldexp(values, bits - low_bits)
    high = np.floor(scaled) if low_bits else np.rint(scaled)
    low = (
        np.rint(np.ldexp(scaled - high, low_bits)) if low_bits else np.zeros_like(high)
    )
    return high.astype(np.int64), low.astype(np.int64), low_bits


def split_residues(
    high: np.ndarray, low: np.ndarray, low_bits: int, profile: Profile
) -> np.ndarray:
    """Residues [..., L, N] of high 2^low_bits + low, integers [..., N] int64."""
    powers = power_of_two(low_bits, profile)
    return np.asarray(_split_residues(high, low, powers, profile=profile))


def power_of_two(bits: int, profile: Profile) -> np.ndarray:
    """2^bits as residues [L, 1]."""
    return np.array([[pow(2, bits, prime)] for prime in profile.primes])


def join(high: Array, low: Array, power: Array, profile: Profile) -> Array:
    """Residues [..., L, N] of high power + low; high and low [..., N] int64."""
    primes = column(profile)
    high, low = (reduce(part[..., None, :], primes) for part in (high, low))
    return add(multiply(high, power, primes), low, primes)


_split_residues = exact("profile")(join)


def fractions(a: Array, profile: Profile) -> Array:
    """c / q in [0, 1) from residues [..., L, N] of c, to about 2^-51: float64 [..., N].

    c / q is the fractional part of sum_l (c_l (q / p_l)^-1 mod p_l) / p_l.
    """
    inverses = [pow(profile.modulus // p, -1, p) for p in profile.primes]
    primes = column(profile)
    parts = multiply(a, np.array(inverses)[:, None], primes)
    total = jnp.sum(parts * (1.0 / primes), axis=-2)
    return total - jnp.floor(total)
