"""Answers as words: ciphertexts modulo q rounded to multiples of q / 2^40, and opened.

A pair (c0, c1) becomes (round(2^40 c0 / q), round(2^40 c1 / q)), and c0 keeps only the
coefficients that hold results. The key holder scales the words to the first prime of q
and decrypts there. What rounding adds to a phase is q / 2^40 times half of one plus the
secret's sum over random halves: about 15 q / 2^40 for N = 4096.

Reference: modulus switching: Brakerski, Gentry, Vaikuntanathan 2012, eprint 2011/277,
  section 3.1; to a power of two: ours.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np

from helix_jax.private import residues
from helix_jax.private.profiles import Profile
from helix_jax.private.seal import SecretKey
from helix_jax.types import Array

WORD_BYTES = 5
WORD = 2 ** (8 * WORD_BYTES)


def to_words(parts: Array, profile: Profile) -> Array:
    """Residues [..., L, n] as multiples of q / 2^40, int64 [..., n] below 2^40."""
    scaled = jnp.rint(residues.fractions(parts, profile) * WORD)
    return scaled.astype(jnp.int64) % WORD


def open_words(
    secret: SecretKey, first: np.ndarray, second: np.ndarray, positions: np.ndarray
) -> np.ndarray:
    """Decrypt answers at some of their coefficients.

    Args:
      secret: the key.
      first: [A, r] int64 below 2^40, c0 at the positions.
      second: [A, N] int64 below 2^40, c1.
      positions: [r].

    Returns:
      [A, r] float64, phases in (-q / 2, q / 2].
    """
    profile = secret.profile
    # Modulo the first prime, where SEAL decrypts.
    last = dataclasses.replace(profile, primes=profile.primes[:1])
    prime = last.primes[0]
    first, second = (
        np.rint(part * (prime / WORD)).astype(np.int64) % prime
        for part in (first, second)
    )
    second = np.asarray(_transform(second[:, None], profile=last))[:, 0]
    # SEAL gives c1 s; adding c0 where it is known needs no transform of it.
    phases = secret.decrypt(np.zeros_like(second), second)[:, None]
    phases = np.asarray(_inverse_transform(phases, profile=last))[:, 0, positions]
    phases = (phases + first) % prime
    phases = np.where(phases > prime // 2, phases - prime, phases)
    return phases * (profile.modulus / prime)


_transform = residues.exact("profile")(residues.transform)
_inverse_transform = residues.exact("profile")(residues.inverse_transform)
