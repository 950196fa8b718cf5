"""Parameter profiles of the encrypted layer, pinned by name.

N is the ring degree and q the ciphertext modulus here. Parameters are looked up by name
on both sides and are never taken from a message.
"""

import dataclasses
import math

from helix_jax.errors import ProtocolError

# Largest log2 q for 128-bit classical security with a uniform ternary secret: the
# standard's 54 and 109 less what newer attacks take.
# Reference: Albrecht et al. 2018, "Homomorphic Encryption Security Standard", table 1;
#   MATZOV 2022, zenodo.6412487, as the lattice estimator (Albrecht, Player, Scott 2015,
#   eprint 2015/046) has it by default: 128.9 bits for 4096 / 106 (125.1 for 109), 128.8
#   for 2048 / 53 (126.3 for 54).
MAX_MODULUS_BITS = {2048: 53, 4096: 106}


@dataclasses.dataclass(frozen=True)
class Profile:
    """One choice of ring and modulus.

    Attributes:
      name: what both sides call it.
      code: its number in messages.
      degree: N, a power of two; coefficients a ciphertext.
      primes: of the modulus, each 1 modulo 2N and below 2^55.
      statistical_bits: answers leak at most 2^-statistical_bits (total variation) of
        anything but the result; 0 leaves answers as they are, for public weights.
      rounded: answers are rounded to words, see `words`; else they are left as they
        come out of the product, transformed: three times the bytes, no work.
    """

    name: str
    code: int
    degree: int
    primes: tuple[int, ...]
    statistical_bits: int
    rounded: bool = True

    @property
    def modulus(self) -> int:
        """q, the product of the primes."""
        return math.prod(self.primes)

    @property
    def residue_bytes(self) -> tuple[int, ...]:
        """Bytes of one residue of each prime in a message."""
        return tuple(-(-prime.bit_length() // 8) for prime in self.primes)

    @property
    def guarded(self) -> bool:
        """Whether answers hide the provider's weights."""
        return self.statistical_bits > 0


PROFILES = {
    profile.name: profile
    for profile in (
        # log2 q = 106 of 106: room for results, 40 bits of flooding and the noise.
        Profile("guarded", 1, 4096, (9007199254364161, 9007199254429697), 40),
        # log2 q = 64 of 106, in primes whose residues fill 32 bits.
        Profile("open", 2, 4096, (4294729729, 4294828033), 0),
        # The same, for the least time of the provider.
        Profile("swift", 4, 4096, (4294729729, 4294828033), 0, rounded=False),
        # log2 q = 53 of 53: half the bytes of "open" for a twentieth of its accuracy.
        Profile("compact", 3, 2048, (9007199254614017,), 0),
    )
}


def find_profile(name: str) -> Profile:
    """The profile of a name.

    Raises:
      ProtocolError: there is none of that name.
    """
    if name not in PROFILES:
        raise ProtocolError(
            f"unknown profile {name!r}; both sides choose one of {sorted(PROFILES)}."
        )
    return PROFILES[name]
