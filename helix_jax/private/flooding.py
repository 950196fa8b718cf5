"""Noise that hides what an answer would reveal beyond its result.

The phase of an answer coefficient is <w, z> + shift + flood, with z the query that the
ciphertext holds and

    shift_i = <w'_i, e> + (e'' u + s'' e1 + 2 e0)_i

The first term is due to the query's errors e: at most 21 |w'_i|_1 for every ciphertext
that `encryption` makes, whatever its randomness. Errors fill all N coefficients, so
w'_i are all the weights of the answer that holds result i, not only those of its row.
(For a query that was made otherwise, take z as the whole phase and e as zero.)

The second term is the mask's noise. A proof of the key guarantees s'' and e'': they are
2 s and 2 e for an honest key, and within `extracted_norms` for any other. u, e0 and e1
are the provider's own, drawn after the key was fixed, with mean zero and variance 2 / 3
(u) and 10.5 (e0 and e1), so that the mean over them is

    E shift_i^2 <= (21 |w'_i|_1)^2 + 2/3 |e''|_2^2 + 10.5 |s''|_2^2 + 42

The flood is the sum of four uniform integers below R = 2^bits, less its mean. Let p be
its distribution and S = sum_x (sqrt p(x) - sqrt p(x - 1))^2 <= 1 / R^2. The total
variation between p and p shifted, for all results of an answer jointly with u, e0 and
e1, is at most

    sqrt(S) E |shift|_2 <= sqrt(E |shift|_2^2) / R <= 2^-statistical_bits.

Proof: given u, e0 and e1, the Hellinger distance H of one coordinate satisfies 2 H^2 =
|sqrt p - sqrt p(. - t)|^2 <= t^2 S by the triangle inequality, H^2 adds up (at most)
over independent coordinates, and total variation is at most sqrt(2) H; the last step
takes the mean over u, e0 and e1. S R^2 is 0.78 in the limit of large R and is computed
for small R in the tests; it is below 1 from R = 4.

The same flood bounds what a result can reveal at all. A result is a number modulo q.
Let C be the coefficient before the flood F; whatever the other side has encrypted,

    I(C; C + F) <= log2 q - h(F) <= log2 q - log2 R - 1,

because the entropy of the flood is log2 R + 1.25 in the limit of large R, and above
log2 R + 1 for all R (computed for small R in the tests). k results together reveal at
most k times as much, because their floods are independent.

Reference: ours; the flooding lemma that it sharpens is Asharov et al. 2012, eprint
  2011/613, lemma 1. Hellinger distance: Tsybakov 2009, section 2.4.
"""

import functools
import math

import numpy as np

from helix_jax.private import packing, residues, sampling
from helix_jax.private.key_proof_sizes import extracted_norms
from helix_jax.private.profiles import Profile


def shift_bound(norms: np.ndarray, profile: Profile) -> float:
    """Upper bound of sqrt(E |shift|_2^2) over all results of an answer.

    Args:
      norms: [k] |w'_i|_1 of the integer weights, see `packing.answer_norms`.
      profile: of the ring.
    """
    query_noise = sampling.ERROR_BOUND * np.asarray(norms, np.float64)
    bounds = np.hypot(query_noise, mask_noise(profile))
    # The factor covers more than float64 can lose in the sums.
    return float(np.linalg.norm(bounds) * (1 + 1e-9))


@functools.cache
def mask_noise(profile: Profile) -> float:
    """Upper bound of sqrt(E n^2) of a mask's noise n, for every key with a proof."""
    secret, errors = extracted_norms(profile)
    variance = sampling.TERNARY_VARIANCE * errors**2
    return math.sqrt(variance + sampling.ERROR_VARIANCE * (secret**2 + 4))


def flood_bits(shift: float, statistical_bits: int) -> int:
    """The smallest log2 R that hides shifts of this norm."""
    return packing.next_power(max(shift, 1.0)) + statistical_bits


def coarse_bits(precision: int, profile: Profile) -> int:
    """The smallest log2 R that leaves at most `precision` bits in a result."""
    return math.ceil(math.log2(profile.modulus) - 1) - precision


def carried_bits(bits: int, profile: Profile) -> float:
    """Bits that a result can carry under a flood of R = 2^bits."""
    return math.log2(profile.modulus) - bits - 1


def draw_flood(bits: int, shape: tuple[int, ...], profile: Profile) -> np.ndarray:
    """Residues of sums of four uniform integers below 2^bits, less 2^(bits + 1) - 2.

    Args:
      bits: log2 R, from 0 to 104.
      shape: [..., n] of the returned array without its axis of primes.
      profile: of the ring.

    Returns:
      [..., L, n] int64, exact modulo every prime.

    Raises:
      ValueError: bits is out of range.
    """
    if not 0 <= bits <= 104:
        raise ValueError(f"draw_flood: bits must be from 0 to 104, got {bits}.")
    low_bits = min(bits, 50)
    high_bits = bits - low_bits
    low = sampling.uniform_bits(low_bits, (4, *shape)).sum(axis=0)
    high = np.zeros(shape, np.int64)
    if high_bits:
        high = sampling.uniform_bits(high_bits, (4, *shape)).sum(axis=0)
    # 2 (R - 1) = (2 R / 2^low_bits) 2^low_bits - 2
    high -= 2 * 2**high_bits
    return residues.split_residues(high, low + 2, low_bits, profile)
