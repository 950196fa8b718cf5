"""Messages of the encrypted layer, changed in a known place."""

import os

import numpy as np

from helix_jax.private import PROFILES, wire
from helix_jax.private.profiles import Profile
from helix_jax.private.sampling import SEED_BYTES
from helix_jax.private.signatures import KEY_BYTES, SIGNATURE_BYTES

VERSION, KIND, PROFILE, KEY, NUMBER = 4, 6, 7, 8, 24
BINDING, SIZES, LENGTH = 40, 56, 72
FIELDS = ((KIND, 1), (PROFILE, 1), (KEY, 16), (NUMBER, 16), (BINDING, 16))
FIELDS += (*((SIZES + 4 * i, 4) for i in range(4)), (LENGTH, 8))


def put(message: bytes, place: int, part: bytes) -> bytes:
    return message[:place] + part + message[place + len(part) :]


def signed(message: bytes, signing: bytes | None) -> bytes:
    """A message whose last bytes are made its sender's signature of those before."""
    if signing is None or len(message) < wire.HEADER_BYTES + SIGNATURE_BYTES:
        return message
    return wire.sign(message[:-SIGNATURE_BYTES], signing)


def addressed(message: bytes, key: bytes) -> bytes:
    return put(message, KEY, key)


def renumbered(message: bytes) -> bytes:
    return put(message, NUMBER, os.urandom(16))


def named(message: bytes) -> bytes:
    """A key under the name of its content; what may follow is its proof."""
    profile = profile_of(message)
    end = wire.HEADER_BYTES + KEY_BYTES + SEED_BYTES + wire.residues_length(1, profile)
    return addressed(message, wire.key_name(message[wire.HEADER_BYTES : end]))


def profile_of(message: bytes) -> Profile:
    code = message[PROFILE]
    return next(one for one in PROFILES.values() if one.code == code)


def flip(
    message: bytes, generator: np.random.Generator, start: int, stop: int
) -> bytes:
    place = int(generator.integers(start, stop))
    flipped = message[place] ^ (1 << int(generator.integers(8)))
    return put(message, place, bytes([flipped]))
