"""Exact arithmetic in R_q = Z_q[X] / (X^N + 1) on residues, in JAX.

A polynomial is int64 [..., L, N]: L residues, one a prime of q, of each of its N
coefficients or, transformed, of its values at the odd powers of a primitive 2N-th root
psi. Value i is f(psi^(2 rev(i) + 1)), rev reversing the bits of i, with the smallest
psi of each prime: the order and the root of Microsoft SEAL, whose ciphertexts these
are.

A product of two residues below 2^56 is exact without 128-bit integers: with k the
rounded float64 quotient of a b by p, a b - k p is small, and int64 arithmetic, which
wraps at 2^64, gives it exactly.

Reference: Longa and Naehrig 2016, eprint 2016/504, algorithms 1 and 2 (transforms).
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
    """Decorate a function: jitted, with 64-bit integers and floats.

    Args:
      static: names of arguments that are settings, not arrays.
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
      inverse_roots: [L, N] int64, psi^-rev(i).
      inverse_degree: [L] int64, 1 / N.
    """

    primes: np.ndarray
    roots: np.ndarray
    inverse_roots: np.ndarray
    inverse_degree: np.ndarray


@functools.cache
def ring_of(profile: Profile) -> Ring:
    """The constants of a profile's ring."""
    n = profile.degree
    reversed_bits = _reversed_bits(n)
    roots, inverses = [], []
    for prime in profile.primes:
        psi = smallest_root(prime, n)
        for base, table in ((psi, roots), (pow(psi, -1, prime), inverses)):
            powers = [1]
            for _ in range(n - 1):
                powers.append(powers[-1] * base % prime)
            table.append(np.array(powers)[reversed_bits])
    return Ring(
        np.array(profile.primes),
        np.stack(roots),
        np.stack(inverses),
        np.array([pow(n, -1, prime) for prime in profile.primes]),
    )


def smallest_root(prime: int, degree: int) -> int:
    """The smallest primitive 2N-th root of unity modulo a prime that is 1 modulo 2N."""
    candidates = (pow(g, (prime - 1) // (2 * degree), prime) for g in range(2, prime))
    root = next(r for r in candidates if pow(r, degree, prime) == prime - 1)
    square, power, smallest = root * root % prime, root, root
    for _ in range(degree - 1):
        power = power * square % prime
        smallest = min(smallest, power)
    return smallest


def _reversed_bits(n: int) -> np.ndarray:
    """[N] int64: i with its log2 N bits in reverse order."""
    order = np.zeros(1, np.int64)
    while len(order) < n:
        order = np.concatenate([2 * order, 2 * order + 1])
    return order


def add(a: Array, b: Array, primes: Array) -> Array:
    """a + b of residues; primes broadcasts against them."""
    total = a + b
    return jnp.where(total >= primes, total - primes, total)


def subtract(a: Array, b: Array, primes: Array) -> Array:
    """a - b of residues."""
    rest = a - b
    return jnp.where(rest < 0, rest + primes, rest)


def multiply(a: Array, b: Array, primes: Array) -> Array:
    """a b of residues below 2^56, exactly."""
    inverse = 1.0 / primes.astype(jnp.float64)
    quotient = a.astype(jnp.float64) * b.astype(jnp.float64) * inverse
    # Off by at most 2^57 * 2^-51 = 2^6 primes, so below 2^62.
    rest = a * b - quotient.astype(jnp.int64) * primes
    return reduce(rest, primes)


def reduce(a: Array, primes: Array) -> Array:
    """Any int64 modulo the primes, into [0, p)."""
    quotient = jnp.floor(a.astype(jnp.float64) / primes.astype(jnp.float64))
    rest = a - quotient.astype(jnp.int64) * primes
    rest = jnp.where(rest < 0, rest + primes, rest)
    return jnp.where(rest >= primes, rest - primes, rest)


def transform(a: Array, profile: Profile) -> Array:
    """Coefficients [..., L, N] to values: the negacyclic number-theoretic transform."""
    return _butterflies(a, ring_of(profile), inverse=False)


def inverse_transform(a: Array, profile: Profile) -> Array:
    """Values [..., L, N] to coefficients."""
    ring = ring_of(profile)
    a = _butterflies(a, ring, inverse=True)
    return multiply(a, ring.inverse_degree[:, None], ring.primes[:, None])


def _butterflies(a: Array, ring: Ring, *, inverse: bool) -> Array:
    primes = jnp.asarray(ring.primes)[:, None, None]
    shape, n = a.shape, a.shape[-1]
    blocks = [2**i for i in range(n.bit_length() - 1)]
    roots = ring.inverse_roots if inverse else ring.roots
    for count in reversed(blocks) if inverse else blocks:
        factor = roots[:, count : 2 * count, None]
        pair = a.reshape(*shape[:-1], count, 2, n // (2 * count))
        low, high = pair[..., 0, :], pair[..., 1, :]
        if inverse:
            both = subtract(low, high, primes)
            pair = add(low, high, primes), multiply(both, factor, primes)
        else:
            high = multiply(high, factor, primes)
            pair = add(low, high, primes), subtract(low, high, primes)
        # Without the barrier XLA fuses the stages and computes each many times over.
        a = jax.lax.optimization_barrier(jnp.stack(pair, axis=-2)).reshape(shape)
    return a


def column(profile: Profile) -> np.ndarray:
    """The primes as [L, 1] int64, to broadcast against residues [..., L, N]."""
    return np.array(profile.primes)[:, None]


def scaled_residues(values: np.ndarray, bits: int, profile: Profile) -> np.ndarray:
    """Residues of round(values 2^bits), exact in every bit that a float64 has.

    Args:
      values: [..., N] float64, finite.
      bits: of the scale, at most 100.
      profile: of the ring.

    Returns:
      [..., L, N] int64.
    """
    values = np.asarray(values, np.float64)
    exponent = int(np.frexp(np.abs(values).max(initial=0.0))[1])
    low_bits = max(0, bits + exponent - 60)
    scaled = np.ldexp(values, bits - low_bits)
    high = np.floor(scaled) if low_bits else np.rint(scaled)
    low = (
        np.rint(np.ldexp(scaled - high, low_bits)) if low_bits else np.zeros_like(high)
    )
    return split_residues(
        high.astype(np.int64), low.astype(np.int64), low_bits, profile
    )


def split_residues(
    high: np.ndarray, low: np.ndarray, low_bits: int, profile: Profile
) -> np.ndarray:
    """Residues [..., L, N] of high 2^low_bits + low, integers [..., N] int64."""
    powers = np.array([[pow(2, low_bits, p)] for p in profile.primes])
    return np.asarray(_split_residues(high, low, powers, profile=profile))


@exact("profile")
def _split_residues(high: Array, low: Array, powers: Array, *, profile: Profile):
    primes = column(profile)
    high, low = (reduce(part[..., None, :], primes) for part in (high, low))
    return add(multiply(high, powers, primes), low, primes)


def fractions(a: Array, profile: Profile) -> Array:
    """c / q in [0, 1) for residues [..., L, N] of c, to about 2^-51: float64 [..., N].

    c / q is the fractional part of sum_l (c_l (q / p_l)^-1 mod p_l) / p_l.
    """
    inverses = [pow(profile.modulus // p, -1, p) for p in profile.primes]
    primes = column(profile)
    parts = multiply(a, np.array(inverses)[:, None], primes)
    total = jnp.sum(parts / primes.astype(np.float64), axis=-2)
    return total - jnp.floor(total)
