"""Independent twins of the encrypted layer's algebra, in Python integers."""

import math

import numpy as np

from helix_jax.private import residues
from helix_jax.private.profiles import Profile

transform = residues.exact("profile")(residues.transform)
inverse_transform = residues.exact("profile")(residues.inverse_transform)
multiply = residues.exact()(residues.multiply)


def lift(values: np.ndarray, profile: Profile) -> np.ndarray:
    """Integers in (-q / 2, q / 2] of residues [..., L, n], by the remainder theorem."""
    q, total = profile.modulus, 0
    for number, prime in enumerate(profile.primes):
        rest = q // prime
        factor = rest * pow(rest, -1, prime)
        total = total + np.asarray(values)[..., number, :].astype(object) * factor
    total = total % q
    return np.where(total > q // 2, total - q, total)


def reduce(values: np.ndarray, profile: Profile) -> np.ndarray:
    """Residues [..., L, n] of Python integers [..., n]."""
    parts = [np.asarray(values, object) % prime for prime in profile.primes]
    return np.stack(parts, axis=-2).astype(np.int64)


def negacyclic(a: np.ndarray, b: np.ndarray, prime: int) -> np.ndarray:
    """a b modulo X^N + 1 and a prime below 2^56: one product of two long integers."""
    n, size = len(a), 16  # bytes a coefficient: N p^2 < 2^128
    packed = [
        b"".join(int(c).to_bytes(size, "little") for c in part) for part in (a, b)
    ]
    long = [int.from_bytes(part, "little") for part in packed]
    raw = math.prod(long).to_bytes(2 * n * size, "little")
    whole = [
        int.from_bytes(raw[start : start + size], "little")
        for start in range(0, len(raw), size)
    ]
    return np.array([(whole[i] - whole[i + n]) % prime for i in range(n)])


def phases(pair: tuple, secret: np.ndarray, profile: Profile) -> np.ndarray:
    """Integers c0 + c1 s of transformed residues: [N] of pairs of [L, N]."""
    primes = residues.column(profile)
    product = np.asarray(multiply(pair[1], secret, primes))
    return lift(
        inverse_transform((pair[0] + product) % primes, profile=profile), profile
    )
