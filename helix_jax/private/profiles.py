"""Parameter profiles of the encrypted layer, pinned by name.

Here N is the ring degree and q the ciphertext modulus. Both sides look parameters up by
name and never take them from a message. `attacks/lattice_cost.py` works out what the
best attacks by lattice reduction cost: 128 bits and more. The limits of the Homomorphic
Encryption Security Standard (Albrecht et al. 2018, table 1) are 109 bits of q at
N = 4096 and 54 at 2048 against classical attacks, 101 and 51 against quantum ones.
"""

import dataclasses
import math

from helix_jax.errors import ProtocolError


@dataclasses.dataclass(frozen=True)
class Profile:
    """One choice of ring and modulus.

    Attributes:
      name: what both sides call it.
      code: its number in messages.
      degree: N, a power of two; coefficients per ciphertext.
      primes: of the modulus, each 1 modulo 2N and below 2^55.
      statistical_bits: beyond the result, answers leak at most 2^-statistical_bits
        (total variation); 0 leaves answers unmasked, for public weights.
      rounded: answers are rounded to words, see `words`; otherwise they stay as the
        product gives them, transformed: three times the bytes, no work.
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
        # log2 q = 101 of 101: room for results, 40 bits of flooding and the noise.
        Profile("guarded", 1, 4096, (1125899906826241, 2251799813554177), 40),
        # Five bits more for results, and 128 bits against classical attacks alone.
        Profile("wide", 5, 4096, (9007199254364161, 9007199254429697), 40),
        # log2 q = 64 of 101, in primes whose residues fill 32 bits.
        Profile("open", 2, 4096, (4294729729, 4294828033), 0),
        # The same, with the least work for the provider.
        Profile("swift", 4, 4096, (4294729729, 4294828033), 0, rounded=False),
        # log2 q = 51 of 51: half the bytes of "open" for a hundredth of its accuracy.
        Profile("compact", 3, 2048, (2251799813640193,), 0),
    )
}


def find_profile(name: str) -> Profile:
    """Look up a profile by name.

    Raises:
      ProtocolError: no profile has that name.
    """
    if name not in PROFILES:
        raise ProtocolError(
            f"unknown profile {name!r}; both sides choose one of {sorted(PROFILES)}."
        )
    return PROFILES[name]
