"""Microsoft SEAL through Pyfhel: secret keys and decryption. The only file that imports
Pyfhel.

SEAL sees what this process made and nothing else: its own keys, and ciphertexts that
are written here from residues which have been checked. Serialised objects with
compression "none" are a header, of 113 bytes for ciphertexts and 88 for plaintexts and
secret keys, and then little-endian 64-bit residues.
"""

import warnings

import numpy as np

from helix_jax.private.profiles import Profile

_CIPHERTEXT_HEADER = 113
_PLAINTEXT_HEADER = 88


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
        self.residues = np.frombuffer(raw, "<i8", offset=_PLAINTEXT_HEADER)
        self.residues = self.residues.reshape(shape)
        # Any ciphertext has the header that all of them have: the last level's, where
        # only the first prime is left.
        zero = self._seal.encodeFrac(np.zeros(1), scale=2.0**20)
        sample = self._seal.encryptPtxt(zero).to_bytes(compr_mode="none")
        self._header = sample[:_CIPHERTEXT_HEADER]

    def decrypt(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Phases of ciphertexts modulo the first prime.

        Args:
          first, second: [A, N] int64, transformed, below the first prime.

        Returns:
          [A, N] int64, transformed.
        """
        from Pyfhel import PyCtxt

        shape, prime = first.shape, self.profile.primes[0]
        if shape[1:] != (self.profile.degree,) or second.shape != shape:
            raise ValueError(
                f"decrypt: both parts need shape [A, {self.profile.degree}], got "
                f"{list(shape)} and {list(second.shape)}."
            )
        both = np.stack([first, second], axis=1).astype("<u8")
        if both.size and int(both.max()) >= prime:
            raise ValueError(f"decrypt: residues must be below {prime}.")
        phases = np.empty(shape, np.int64)
        for number, pair in enumerate(both):
            data = self._header + pair.tobytes()
            ciphertext = PyCtxt(pyfhel=self._seal, bytestring=data, scheme="ckks")
            plaintext = self._seal.decrypt(ciphertext, decode=False)
            raw = plaintext.to_bytes(compr_mode="none")
            phases[number] = np.frombuffer(raw, "<i8", offset=_PLAINTEXT_HEADER)
        return phases

    def __reduce__(self):
        raise TypeError("a SecretKey is not copied or pickled; it stays where it is.")
