"""The secret of a mask, by a public key that is no key.

A mask is (b u + e0, a u + e1) with (b, a) the client's public key, u ternary and new
for every answer. It hides the second part if b is honest, which looks uniform. The
provider does not tell an honest b from

    b = D sum_j 3^j X^j,   D above the flood,

whose results, for a query with c0 = 0, spell u in ternary: the result at coefficient p
is D sum_j 3^j u_(p - j), some 13 coefficients of u in each. With tiles that narrow all
of u is read, the mask is taken off, and what protects the second part is rounding
alone, as under "open". (Results themselves keep their flood.) Of wide layers with few
results only a few of the N coefficients are read.

The protocol is for clients who follow it; this is what it costs that no key is proved.

Reference: ours.
"""

import math
import os
from typing import NamedTuple

import numpy as np

from helix_jax.attacks import raw_answers
from helix_jax.private import Layer, answer_words, residues, signatures, wire
from helix_jax.private.sampling import SEED_BYTES, uniform_residues


class CraftedKey(NamedTuple):
    """A public key that reads masks.

    Attributes:
      bundle: what the provider registers.
      seed: of its second part a.
      signing: what its owner signs by.
      step_bits: log2 D.
      digits: ternary digits in each result.
    """

    bundle: bytes
    seed: bytes
    signing: bytes
    step_bits: int
    digits: int


class MaskSecret(NamedTuple):
    """What was read of u.

    Attributes:
      values: [A, N] int64 in {-1, 0, 1}.
      known: [A, N] bool.
    """

    values: np.ndarray
    known: np.ndarray


def craft_key(layer: Layer) -> CraftedKey:
    """Make a key for a layer, from what the layer says of itself."""
    profile, plan = layer.profile, layer.plan
    # Flood and noise stay below the stated error.
    step_bits = math.ceil(math.log2(layer.error)) + layer.result_bits + 1
    room = math.log2(profile.modulus) - 1 - step_bits
    digits = min(math.floor(room / math.log2(3)), plan.tile)
    b = np.zeros((1, len(profile.primes), plan.degree), np.int64)
    for j in range(digits):
        b[0, :, j] = [(3**j << step_bits) % prime for prime in profile.primes]
    b = np.asarray(raw_answers.transform(b, profile=profile))
    seed, signing = os.urandom(SEED_BYTES), os.urandom(signatures.KEY_BYTES)
    payload = signatures.verifying_key(signing) + seed + wire.pack_residues(b, profile)
    bundle = wire.write(
        "key",
        profile,
        key=wire.key_name(payload),
        number=bytes(16),
        sizes=(plan.degree, len(profile.primes)),
        payload=payload,
    )
    return CraftedKey(bundle, seed, signing, step_bits, digits)


def empty_query(layer: Layer, key: CraftedKey) -> bytes:
    """A query whose first parts are zero."""
    profile, plan = layer.profile, layer.plan
    name = wire.read(key.bundle, "key", profile).key
    zeros = np.zeros((plan.tiles, len(profile.primes), plan.degree), np.int64)
    return wire.write(
        "query",
        profile,
        key=name,
        number=os.urandom(16),
        binding=layer.binding,
        sizes=(plan.width, plan.classes, plan.tiles, 1),
        payload=os.urandom(SEED_BYTES) + wire.pack_residues(zeros, profile),
        signing_key=key.signing,
    )


def read_secret(
    answer: bytes, layer: Layer, key: CraftedKey, bias: np.ndarray
) -> MaskSecret:
    """Read u from the results of the answer to an empty query.

    Args:
      answer: the provider's.
      layer: its layer.
      key: that was registered.
      bias: [k] as an honest query of zero gives it.

    Returns:
      MaskSecret.
    """
    profile, plan = layer.profile, layer.plan
    parts = raw_answers.read_answer(answer, layer)
    padded = np.zeros(plan.answers * plan.rows)
    padded[: plan.classes] = bias
    scaled = residues.scaled_residues(
        padded.reshape(plan.answers, plan.rows), layer.result_bits, profile
    )
    values = np.zeros((plan.answers, plan.degree), np.int64)
    known = np.zeros((plan.answers, plan.degree), bool)
    phases = parts.results.astype(object) * profile.modulus // answer_words.WORD
    phases = (phases - raw_answers.lift(scaled, profile)) % profile.modulus
    half, step = profile.modulus // 2, 1 << key.step_bits
    phases = np.where(phases > half, phases - profile.modulus, phases)
    for number in range(plan.classes):
        answer_number, row = divmod(number, plan.rows)
        rest = (2 * int(phases[answer_number, row]) + step) // (2 * step)
        for j in range(key.digits):
            digit = (rest + 1) % 3 - 1
            rest = (rest - digit) // 3
            place = plan.positions[row] - j
            values[answer_number, place] = digit
            known[answer_number, place] = True
    return MaskSecret(values, known)


def unmask(
    answer: bytes, layer: Layer, key: CraftedKey, secret: MaskSecret
) -> np.ndarray:
    """Second parts [A, N] as fractions of q in [0, 1), less a u: w c1 and rounding."""
    profile = layer.profile
    a = uniform_residues(key.seed, (1,), profile, "key")
    product = _mask_of(secret.values, a, profile=profile)
    whole = raw_answers.lift(np.asarray(product), profile) % profile.modulus
    second = raw_answers.read_answer(answer, layer).second.astype(object)
    left = (second * profile.modulus - whole * answer_words.WORD) % (
        profile.modulus * answer_words.WORD
    )
    return (left / (profile.modulus * answer_words.WORD)).astype(np.float64)


@residues.exact("profile")
def _mask_of(u, a, *, profile):
    primes = residues.column(profile)
    u = residues.transform(residues.reduce(u[:, None, :], primes), profile)
    return residues.inverse_transform(residues.multiply(u, a, primes), profile)
