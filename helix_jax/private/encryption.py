"""Encryption of residues: with the secret key and a seed, and with the public key.

s is the secret, a a public uniform polynomial, e errors, u ternary, m the message:

    secret-key encryption   (m + e - a s, a), sent as the first part and the seed of a
    public key              (b, a) = (e - a s, a), an encryption of zero
    public-key encryption   (m + 2 (b u + e0), 2 (a u + e1))

A pair (c0, c1) has the phase c0 + c1 s = m + noise. The client owns s, so it encrypts
with s: that takes half the bytes, and the noise is e alone, which never exceeds 21 per
coefficient. Public-key encryptions have the factor 2 because a proof of the key is a
statement about 2 b, not b: see `key_proof`.
Everything here is in the transformed domain of `residues` unless it says coefficients.

Reference: Lyubashevsky, Peikert, Regev 2010, eprint 2012/230; with Cheon, Kim, Kim,
  Song 2017, eprint 2016/421, section 3.4; the factor 2: ours.
"""

import os
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from helix_jax.private import residues, sampling
from helix_jax.private.profiles import Profile
from helix_jax.types import Array


class Seeded(NamedTuple):
    """Secret-key ciphertexts, transformed.

    Attributes:
      seed: of the second parts.
      first: [T, L, N] int64, the first parts.
    """

    seed: bytes
    first: np.ndarray


def encrypt(
    message: np.ndarray, secret: np.ndarray, profile: Profile, use: sampling.Use
) -> Seeded:
    """Encrypt residues with the secret key.

    Args:
      message: [T, L, N] int64 residues, coefficients.
      secret: [L, N] int64, transformed.
      profile: of the ring.
      use: the message's kind.

    Returns:
      Seeded, with noise of at most `sampling.ERROR_BOUND` per coefficient.
    """
    drawn = _draw(message.shape[0], profile, use)
    first = _encrypt(message, *drawn[1:], secret, profile=profile)
    return Seeded(drawn[0], np.asarray(first))


def encrypt_numbers(
    values: np.ndarray,
    bits: int,
    secret: np.ndarray,
    profile: Profile,
    use: sampling.Use,
) -> Seeded:
    """Encrypt round(values 2^bits) with the secret key.

    Args:
      values: [T, n] float64, finite, the first n coefficients.
      bits: of the scale, at most 100.
      secret: [L, N] int64, transformed.
      profile: of the ring.
      use: the message's kind.

    Returns:
      Seeded, as `encrypt` gives.
    """
    high, low, low_bits = residues.split_scaled(values, bits)
    power = residues.power_of_two(low_bits, profile)
    drawn = _draw(len(values), profile, use)
    first = _encrypt_split(high, low, power, *drawn[1:], secret, profile=profile)
    return Seeded(drawn[0], np.asarray(first))


def _draw(
    tiles: int, profile: Profile, use: sampling.Use
) -> tuple[bytes, np.ndarray, np.ndarray]:
    """A fresh seed, the second parts [T, L, N] drawn from it, and errors [T, N]."""
    seed = os.urandom(sampling.SEED_BYTES)
    uniform = sampling.uniform_residues(seed, (tiles,), profile, use)
    return seed, uniform, sampling.centred_binomial((tiles, profile.degree))


def _encrypted(
    message: Array, uniform: Array, errors: Array, secret: Array, *, profile: Profile
) -> Array:
    primes = residues.column(profile)
    product = residues.multiply(uniform, secret, primes)
    noisy = residues.transform(message + errors[:, None, :], profile)
    return residues.subtract(noisy, product, primes)


def _encrypted_split(
    high: Array,
    low: Array,
    power: Array,
    uniform: Array,
    errors: Array,
    secret: Array,
    *,
    profile: Profile,
) -> Array:
    message = residues.join(high, low, power, profile)
    message = jnp.pad(message, ((0, 0), (0, 0), (0, profile.degree - high.shape[-1])))
    return _encrypted(message, uniform, errors, secret, profile=profile)


_encrypt = residues.exact("profile")(_encrypted)
_encrypt_split = residues.exact("profile")(_encrypted_split)


def make_public_key(secret: np.ndarray, profile: Profile) -> Seeded:
    """The public key (b, a) of a secret: an encryption of zero, [1, L, N]."""
    zero = np.zeros((1, len(profile.primes), profile.degree), np.int64)
    return encrypt(zero, secret, profile, "key")


def encrypt_zeros(
    key_b: np.ndarray, key_a: np.ndarray, count: int, profile: Profile
) -> tuple[Array, Array]:
    """Fresh public-key encryptions of zero, in coefficients.

    Args:
      key_b: [L, N] int64, first part of the public key.
      key_a: [L, N] int64, its second part.
      count: how many.
      profile: of the ring.

    Returns:
      (first, second), each [count, L, N] int64. Their noise is at most
      `zeros_noise` per coefficient, if the key is honest.
    """
    shape = (count, profile.degree)
    return _encrypt_zeros(
        key_b,
        key_a,
        sampling.ternary(shape),
        sampling.centred_binomial(shape),
        sampling.centred_binomial(shape),
        profile=profile,
    )


@residues.exact("profile")
def _encrypt_zeros(
    key_b: Array, key_a: Array, u: Array, e0: Array, e1: Array, *, profile: Profile
) -> tuple[Array, ...]:
    primes = residues.column(profile)
    u, e0, e1 = (residues.reduce(part[:, None, :], primes) for part in (u, e0, e1))
    u = residues.transform(u, profile)
    products = jnp.stack([residues.multiply(key, u, primes) for key in (key_b, key_a)])
    zeros = residues.inverse_transform(products, profile)
    zeros = residues.add(zeros, jnp.stack([e0, e1]), primes)
    return tuple(residues.add(zeros, zeros, primes))


def zeros_noise(degree: int) -> int:
    """Bound of 2 (e u + e1 s + e0), the noise of `encrypt_zeros` for an honest key."""
    return 2 * sampling.ERROR_BOUND * (2 * degree + 1)
