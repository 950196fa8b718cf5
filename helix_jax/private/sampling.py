"""Randomness of the encrypted layer: fresh keys, public seeds, one stream cipher.

Everything secret is a ChaCha20 keystream under a fresh 32-byte key from os.urandom,
used for nothing else. Public uniform polynomials are keystreams under the key

    SHA-256("helix_jax uniform residues 1: " use "/" profile "/" seed)

with one nonce per prime, so that a seed stands for half of a ciphertext, and the same
seed gives unrelated polynomials for a key, a query or another ring. Readers of a
message know its seed, so a pseudo-random generator would not be enough: the proof
models the expansion, this hash and its stream, as a random oracle.

Reference: Nir and Langley 2018, RFC 8439, section 2.4. A public seed for the uniform
  part: Bos et al. 2018 (Kyber), eprint 2017/634, section 3, in the random oracle model.
"""

import hashlib
import os
from typing import Literal

import numpy as np

from helix_jax.extras import optional_imports
from helix_jax.private.profiles import Profile

SEED_BYTES = 32
ERROR_BOUND = 21  # of `centred_binomial`
ERROR_VARIANCE = 10.5
TERNARY_VARIANCE = 2 / 3
Use = Literal["key", "query", "rows"]  # of a seed: the kind of message it is sent in


def keystream(seed: bytes, length: int, number: int = 0) -> bytes:
    """The ChaCha20 keystream from block 0 on.

    Args:
      seed: SEED_BYTES bytes, the key.
      length: how many bytes.
      number: the nonce; each gives a stream of its own.

    Raises:
      ExtraError: the package `cryptography` is not installed.
    """
    with optional_imports():
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
    # Four bytes of block counter, then twelve of nonce.
    cipher = algorithms.ChaCha20(seed, (number << 32).to_bytes(16, "little"))
    return Cipher(cipher, mode=None).encryptor().update(bytes(length))


def secret_bytes(length: int) -> bytes:
    """Bytes that nobody else knows."""
    return keystream(os.urandom(SEED_BYTES), length)


def uniform_residues(
    seed: bytes, shape: tuple[int, ...], profile: Profile, use: Use
) -> np.ndarray:
    """Uniform residues from a seed, by rejection from one keystream per prime.

    Args:
      seed: SEED_BYTES bytes.
      shape: leading dimensions.
      profile: of the ring.
      use: the kind of message that the seed is sent in.

    Returns:
      [*shape, L, N] int64, each uniform below its prime.
    """
    domain = f"helix_jax uniform residues 1: {use}/{profile.name}/".encode()
    stream = hashlib.sha256(domain + seed).digest()
    count = int(np.prod(shape)) * profile.degree
    values = np.empty((*shape, len(profile.primes), profile.degree), np.int64)
    for number, prime in enumerate(profile.primes):
        bits = prime.bit_length()
        dtype = np.dtype("<u4" if bits <= 32 else "<u8")
        rejected = 2**bits / prime - 1
        spare, found = 64 + int(1.1 * rejected * count), np.empty(0, np.int64)
        while len(found) < count:
            data = keystream(stream, dtype.itemsize * (count + spare), number)
            words = np.frombuffer(data, dtype) & dtype.type(2**bits - 1)
            found, spare = words[words < prime], 2 * spare
        values[..., number, :] = found[:count].reshape(*shape, profile.degree)
    return values


def centred_binomial(shape: tuple[int, ...]) -> np.ndarray:
    """Errors: the difference of two sums of 21 fair bits, int64 in [-21, 21].

    The variance is 10.5, a standard deviation of 3.24 as in the Homomorphic Encryption
    Standard. SEAL uses the same distribution.
    """
    size = int(np.prod(shape))
    bits = np.frombuffer(secret_bytes(8 * size), "<u4").reshape(2, size) & 0x1FFFFF
    ones = np.bitwise_count(bits).astype(np.int64)
    return (ones[0] - ones[1]).reshape(shape)


def ternary(shape: tuple[int, ...]) -> np.ndarray:
    """Uniform samples from {-1, 0, 1}, int64."""
    size = int(np.prod(shape))
    found = np.empty(0, np.uint8)
    while len(found) < size:
        raw = np.frombuffer(secret_bytes(size + size // 64 + 64), np.uint8)
        found = raw[raw < 255]
    return (found[:size] % 3).astype(np.int64).reshape(shape) - 1


def uniform_bits(bits: int, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform integers below 2^bits, bits at most 62, int64."""
    raw = np.frombuffer(secret_bytes(8 * int(np.prod(shape))), "<u8").reshape(shape)
    return (raw & np.uint64(2**bits - 1)).astype(np.int64)
