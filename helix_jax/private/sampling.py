"""Randomness of the encrypted layer: the operating system's generator, and seeds.

Everything secret comes from os.urandom. Public uniform polynomials are expanded from
32-byte seeds, so that a seed stands for half of a ciphertext.
"""

import hashlib
import os

import numpy as np

from helix_jax.private.profiles import Profile

SEED_BYTES = 32
ERROR_BOUND = 21  # of `centred_binomial`
ERROR_VARIANCE = 10.5


def uniform_residues(seed: bytes, shape: tuple[int, ...], profile: Profile):
    """Uniform residues from a seed, by rejection from SHAKE-128.

    Args:
      seed: SEED_BYTES bytes.
      shape: leading dimensions.
      profile: of the ring.

    Returns:
      [*shape, L, N] int64, each uniform below its prime.
    """
    count = int(np.prod(shape)) * profile.degree
    parts = []
    for number, prime in enumerate(profile.primes):
        rejected = 2 ** prime.bit_length() / prime - 1
        spare, found = 64 + int(1.1 * rejected * count), np.empty(0, np.int64)
        while len(found) < count:
            xof = hashlib.shake_128(seed + bytes([number]))
            words = np.frombuffer(xof.digest(8 * (count + spare)), "<u8")
            words = (words & np.uint64(2 ** prime.bit_length() - 1)).astype(np.int64)
            found, spare = words[words < prime], 2 * spare
        parts.append(found[:count].reshape(*shape, profile.degree))
    return np.stack(parts, axis=-2)


def centred_binomial(shape: tuple[int, ...]) -> np.ndarray:
    """Errors: the difference of two sums of 21 fair bits, int64 in [-21, 21].

    Variance 10.5, the standard deviation 3.24 of the Homomorphic Encryption Standard,
    and SEAL's distribution.
    """
    size = int(np.prod(shape))
    bits = np.frombuffer(os.urandom(8 * size), "<u4").reshape(2, size) & 0x1FFFFF
    ones = np.bitwise_count(bits).astype(np.int64)
    return (ones[0] - ones[1]).reshape(shape)


def ternary(shape: tuple[int, ...]) -> np.ndarray:
    """Uniform on {-1, 0, 1}, int64."""
    size = int(np.prod(shape))
    found = np.empty(0, np.uint8)
    while len(found) < size:
        raw = np.frombuffer(os.urandom(size + size // 64 + 64), np.uint8)
        found = raw[raw < 255]
    return (found[:size] % 3).astype(np.int64).reshape(shape) - 1


def uniform_bits(bits: int, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform integers below 2^bits, bits at most 62, int64."""
    raw = np.frombuffer(os.urandom(8 * int(np.prod(shape))), "<u8").reshape(shape)
    return (raw & np.uint64(2**bits - 1)).astype(np.int64)
