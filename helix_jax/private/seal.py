"""Microsoft SEAL through Pyfhel: secret keys. The only file that imports Pyfhel.

A secret key serialised with compression "none" is a header of 88 bytes and then
little-endian 64-bit residues, transformed. What is done with it is in `encryption` and
`answers`; the tests compare that with SEAL's own encryption and decryption.
"""

import warnings

import numpy as np

from helix_jax.private.profiles import Profile

_HEADER_BYTES = 88


class SecretKey:
    """A CKKS secret key in SEAL, of a profile's ring.

    Attributes:
      profile: its parameters.
      residues: [L, N] int64, the ternary secret, transformed.
    """

    def __init__(self, profile: Profile):
        """Make a new key from the operating system's randomness.

        Raises:
          ImportError: Pyfhel is not installed.
        """
        try:
            from Pyfhel import Pyfhel
        except ImportError as error:
            raise ImportError(
                "keys are made by Pyfhel, which is not installed: run `make crypto`, "
                "or pip install helix_jax[crypto] as the README says."
            ) from error
        self.profile = profile
        self._seal = Pyfhel()
        bits = [prime.bit_length() for prime in profile.primes]
        with warnings.catch_warnings():  # about rescaling, which nothing here does
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
        self.residues = np.frombuffer(raw, "<i8", offset=_HEADER_BYTES)
        self.residues = self.residues.reshape(shape)

    def __reduce__(self):
        raise TypeError("a SecretKey is not copied or pickled; it stays where it is.")
