"""Answers as words: rounding ciphertexts to multiples of q / 2^40, and decryption.

A pair (c0, c1) becomes (round(2^40 c0 / q), round(2^40 c1 / q)), and c0 keeps only the
coefficients that hold results. The key holder scales the words to the first primes of
q and decrypts modulo their product. Rounding adds (r0 + r1 s) q / 2^40 to a phase,
where r0 and the coefficients of r1 are at most 1/2: a standard deviation of about
15 q / 2^40 for N = 4096.

Reference: modulus switching: Brakerski, Gentry, Vaikuntanathan 2012, eprint 2011/277,
  section 3.1; to a power of two: ours.
"""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np

from helix_jax.private import residues
from helix_jax.private.packing import WORD_BYTES
from helix_jax.private.profiles import Profile
from helix_jax.private.seal import SecretKey
from helix_jax.types import Array

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
    own = _opening(profile)
    both = np.concatenate([first, second], axis=-1)
    phases = _open(
        both, secret.residues[: len(own.primes)], np.asarray(positions), profile=own
    )
    return np.asarray(phases) * profile.modulus


def _opening(profile: Profile) -> Profile:
    """The ring of the fewest first primes whose product is well above a word."""
    count = 1
    while math.prod(profile.primes[:count]) < 2**8 * WORD:
        count += 1
    return dataclasses.replace(profile, primes=profile.primes[:count])


@residues.exact("profile")
def _open(both: Array, secret: Array, positions: Array, *, profile: Profile) -> Array:
    """Phases as fractions of the modulus, from words [A, r + N]."""
    primes = residues.column(profile)
    # round(word q / 2^40) = word (q // 2^40) + round(word (q mod 2^40) / 2^40)
    whole, rest = divmod(profile.modulus, WORD)
    factor = np.array([[whole % prime] for prime in profile.primes])
    low = jnp.rint(both * (rest / WORD)).astype(jnp.int64)
    parts = residues.join(both, low, factor, profile)
    first, second = jnp.split(parts, [positions.shape[0]], axis=-1)
    second = residues.multiply(residues.transform(second, profile), secret, primes)
    product = residues.inverse_transform(second, profile)[..., positions]
    fractions = residues.fractions(residues.add(product, first, primes), profile)
    return fractions - jnp.rint(fractions)
