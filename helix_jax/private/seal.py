"""Microsoft SEAL through Pyfhel: secret keys. The only file that imports Pyfhel.

A secret key serialised with compression "none" is a header of 88 bytes and then
little-endian 64-bit residues, transformed. `encryption` and `answers` use the key; the
tests compare them with SEAL's own encryption and decryption.
"""

import os
import warnings
import weakref
from typing import NoReturn

import numpy as np

from helix_jax.errors import KeyRoleError
from helix_jax.extras import optional_imports
from helix_jax.private.profiles import Profile

_HEADER_BYTES = 88


class SecretKey:
    """A CKKS secret key that SEAL makes in a profile's ring.

    Attributes:
      profile: its parameters.
    """

    def __init__(self, profile: Profile):
        """Make a new key from the operating system's randomness.

        Raises:
          ExtraError: Pyfhel is not installed.
        """
        with optional_imports():
            from Pyfhel import Pyfhel
        self.profile = profile
        self._seal = Pyfhel()
        bits = [prime.bit_length() for prime in profile.primes]
        with warnings.catch_warnings():  # about rescaling, which is not used here
            warnings.simplefilter("ignore")
            self._seal.contextGen(
                scheme="CKKS", n=profile.degree, scale=2.0**20, qi_sizes=bits
            )
        if tuple(self._seal.qi) != profile.primes:
            raise RuntimeError(
                f"SEAL chose the primes {self._seal.qi}, profile {profile.name!r} has "
                f"{profile.primes}; this build of SEAL cannot be used."
            )
        self._seal.keyGen()
        raw = self._seal.to_bytes_secret_key(compr_mode="none")
        shape = (len(profile.primes), profile.degree)
        values = np.frombuffer(raw, "<i8", offset=_HEADER_BYTES).reshape(shape)
        self._residues = values.astype(np.int64)  # a copy, which can be overwritten
        self._wipe = weakref.finalize(self, _overwrite, self._residues, profile)

    @property
    def residues(self) -> np.ndarray:
        """[L, N] int64, the ternary secret, transformed; overwritten by `close`.

        Raises:
          KeyRoleError: the key is closed.
        """
        if not self._wipe.alive:
            raise KeyRoleError("this secret key is closed; make a new Client.")
        return self._residues

    def close(self) -> None:
        """Overwrite the key, as also happens on deletion and at interpreter exit."""
        self._wipe()
        self._seal = None

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SecretKey is not copied or pickled; it stays where it is.")


def _overwrite(residues: np.ndarray, profile: Profile) -> None:
    """Replace a key by uniform residues.

    Not by zeros: what another thread is encrypting meanwhile must stay hidden.
    """
    for row, prime in zip(residues, profile.primes):
        words = np.frombuffer(os.urandom(8 * len(row)), np.uint64)
        row[:] = words % np.uint64(prime)
