"""Sizes of a proof of a public key, and the bounds that it proves.

A response is a discrete Gaussian of standard deviation sigma in every coefficient,
whatever the secret, and is refused if its norm is above `ProofShape.norms`. The
difference of two responses, to X^i and X^j, times 2 / (X^i - X^j) is twice the secret
or twice the errors.

With k = j - i = 2^a k', k' odd, that factor is X^-i sum_(m < N / 2^a) X^(k m), because
(1 - X^k) times the sum is 1 - X^(k' N) = 2. At a root of X^N + 1 its magnitude is
2 / |1 - root^k| <= 1 / sin(pi / 2 N), and multiplying by it increases a Euclidean norm
by at most the largest of these magnitudes.

Reference: Benhamouda, Camenisch, Krenn, Lyubashevsky, Neven 2014, eprint 2014/889,
  section 3 (coefficients of -1, 0 and 1); the norm at the roots: ours. Deviations:
  Lyubashevsky 2012, eprint 2011/537, theorem 4.6.
"""

import functools
import math
from fractions import Fraction
from typing import NamedTuple

from helix_jax.private import sampling
from helix_jax.private.profiles import Profile

CHALLENGE_BITS = 128  # at least, of all repetitions together
REACH = (1, sampling.ERROR_BOUND)  # largest |coefficient| of an honest secret, errors
MEAN_SQUARES = (0.75, 12.5)  # at most, of these coefficients; expected: 2 / 3 and 10.5
_ALPHA, _TAU = (
    22,
    12,
)  # sigma over the norm of what is hidden; 2 exp(-tau^2 / 2) < 2^-102
# log M: a try succeeds with probability 1 / M = 0.58.
LOG_TRIES = Fraction(_TAU, _ALPHA) + Fraction(1, 2 * _ALPHA**2)


class ProofShape(NamedTuple):
    """Sizes of a proof.

    Attributes:
      repetitions: number of challenges.
      scales: sigma of z_s and of z_e.
      bits: of a coefficient of each, with its sign: enough for 5.8 sigma.
      norms: bounds of |z_s|_2 and |z_e|_2 of one repetition.
    """

    repetitions: int
    scales: tuple[int, ...]
    bits: tuple[int, ...]
    norms: tuple[float, ...]


@functools.cache
def proof_shape(profile: Profile) -> ProofShape:
    """The sizes of a profile's proofs."""
    degree = profile.degree
    repetitions = -(-CHALLENGE_BITS // degree.bit_length())
    # Half of 1 / alpha^2 for the secret, half for the errors.
    scales = [
        math.ceil(_ALPHA * math.sqrt(2 * repetitions * degree * square))
        for square in MEAN_SQUARES
    ]
    # A Gaussian's norm exceeds (1 + 6.4 / sqrt N) sigma sqrt N with probability 2^-57.
    stretch = math.sqrt(degree) + 6.4
    return ProofShape(
        repetitions,
        tuple(scales),
        tuple(math.ceil(math.log2(5.8 * scale)) + 1 for scale in scales),
        tuple(stretch * scale for scale in scales),
    )


def proof_length(profile: Profile) -> int:
    """Bytes of a proof."""
    shape = proof_shape(profile)
    bits = shape.repetitions * profile.degree * sum(shape.bits)
    return 2 * shape.repetitions + -(-bits // 8)


def extracted_norms(profile: Profile) -> tuple[float, float]:
    """Bounds of |s''|_2 and |e''|_2 of every key that has a proof.

    2 b = e'' - a s'' holds for these. (Honest keys have s'' = 2 s and e'' = 2 e.)
    """
    largest = (1 + 1e-9) / math.sin(math.pi / (2 * profile.degree))
    s, e = proof_shape(profile).norms
    return largest * 2 * s, largest * 2 * e
