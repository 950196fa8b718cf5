"""Recover the secret of a mask, with a crafted public key.

A mask is 2 (b u + e0, a u + e1), where (b, a) is the client's public key and u is
ternary and new for every answer. It hides the second part if b is honest. An honest b
looks uniform; to a provider so does

    b = D sum_j 3^j X^j,   D above the flood,

but then the results, for a query with c0 = 0, spell u in ternary: the result at
coefficient p is 2 D sum_j 3^j u_(p - j), with some 11 coefficients of u in each. If
tiles are that narrow, all of u is read and the mask is removed; then only rounding
protects the second part, as under "open". (Results themselves keep their flood.) Wide
layers with few results reveal only a few of the N coefficients.

Providers require a proof that the e of b + a s = e is short (`private/key_proof.py`),
and a staircase has none. This file shows the cost of omitting the check.

Reference: ours.
"""

import math
import os
from typing import NamedTuple

import numpy as np

from helix_jax.attacks import raw_answers
from helix_jax.private import Client, Layer, answer_words, residues, signatures, wire
from helix_jax.private.accounts import PublicKey
from helix_jax.private.encryption import Seeded
from helix_jax.private.profiles import Profile
from helix_jax.private.sampling import SEED_BYTES, uniform_residues
from helix_jax.types import Array


class CraftedKey(NamedTuple):
    """A public key that reads masks.

    Attributes:
      public: what the provider encrypts zeros with.
      signing: the owner's signing key.
      step_bits: log2 D.
      digits: ternary digits in each result.
    """

    public: PublicKey
    signing: bytes
    step_bits: int
    digits: int


class MaskSecret(NamedTuple):
    """The part of u that was read.

    Attributes:
      values: [A, N] int64 in {-1, 0, 1}.
      known: [A, N] bool.
    """

    values: np.ndarray
    known: np.ndarray


def craft_key(layer: Layer) -> CraftedKey:
    """Craft a key for a layer, from the layer's public description."""
    # Flood and noise stay below the stated error.
    step_bits = math.ceil(math.log2(layer.error)) + layer.result_bits
    room = math.log2(layer.profile.modulus) - 2 - step_bits
    digits = min(math.floor(room / math.log2(3)), layer.plan.tile)
    return make_key(layer.profile, step_bits, digits)


def make_key(
    profile: Profile, step_bits: int, digits: int, *, spacing: int = 1
) -> CraftedKey:
    """The staircase whose steps are 2^step_bits 3^j at coefficients spacing j."""
    b = np.zeros((1, len(profile.primes), profile.degree), np.int64)
    for j in range(digits):
        steps = [(3**j << step_bits) % prime for prime in profile.primes]
        b[0, :, spacing * j] = steps
    b = np.asarray(raw_answers.transform(b, profile=profile))
    signing = os.urandom(signatures.KEY_BYTES)
    verifying = signatures.verifying_key(signing)
    public = PublicKey(Seeded(os.urandom(SEED_BYTES), b), verifying, profile)
    return CraftedKey(public, signing, step_bits, digits)


def bundles(key: CraftedKey, client: Client) -> list[bytes]:
    """Bundles with which the owner may try to register the key.

    One has the proof of an honest key, the other random bytes: guessing the challenges
    would be enough.
    """
    proof = client.public_bundle()[len(key.public.to_bytes()) :]
    return [key.public.to_bytes(one) for one in (proof, os.urandom(len(proof)))]


def empty_query(layer: Layer, key: CraftedKey) -> bytes:
    """A query whose first parts are zero."""
    profile, plan = layer.profile, layer.plan
    zeros = np.zeros((plan.tiles, len(profile.primes), plan.degree), np.int64)
    return wire.write(
        "query",
        profile,
        key=key.public.key,
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
      key: the registered one.
      bias: [k], as an honest query of zeros returns it.

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
    phases = to_phases(parts.results, profile) - raw_answers.lift(scaled, profile)
    for number in range(plan.classes):
        answer_number, row = divmod(number, plan.rows)
        place = plan.positions[row] - np.arange(key.digits)
        values[answer_number, place] = spell(phases[answer_number, row], key)
        known[answer_number, place] = True
    return MaskSecret(values, known)


def to_phases(words: np.ndarray, profile: Profile) -> np.ndarray:
    """Words of results as integers modulo q."""
    return words.astype(object) * profile.modulus // answer_words.WORD


def spell(phase: int, key: CraftedKey) -> list[int]:
    """The ternary digits of 2 D sum_j 3^j u_j + noise, modulo q."""
    modulus, step = key.public.profile.modulus, 2 << key.step_bits
    phase = (int(phase) + modulus // 2) % modulus - modulus // 2
    rest, digits = (2 * phase + step) // (2 * step), []
    for _ in range(key.digits):
        digits.append((rest + 1) % 3 - 1)
        rest = (rest - digits[-1]) // 3
    return digits


def unmask(second: np.ndarray, key: CraftedKey, secret: MaskSecret) -> np.ndarray:
    """Second parts minus 2 a u: w c1 and rounding, [A, N] fractions of q in [0, 1).

    Args:
      second: [A, N] words of the answer.
      key: the registered one.
      secret: all of u.
    """
    profile, public = key.public.profile, key.public.public
    a = uniform_residues(public.seed, (1,), profile, "key")
    product = _mask_of(secret.values, a, profile=profile)
    whole = raw_answers.lift(np.asarray(product), profile) % profile.modulus
    left = (second.astype(object) * profile.modulus - whole * answer_words.WORD) % (
        profile.modulus * answer_words.WORD
    )
    return (left / (profile.modulus * answer_words.WORD)).astype(np.float64)


def unmasked_error(
    second: np.ndarray, raw: np.ndarray, key: CraftedKey, secret: MaskSecret
) -> float:
    """Largest error of the unmasked second parts, as a fraction of q.

    Args:
      second: [A, N] words of the answer.
      raw: [A, L, N] second parts without masks, transformed.
      key: the registered one.
      secret: all of u.
    """
    profile = key.public.profile
    raw = np.asarray(raw_answers.inverse_transform(raw, profile=profile))
    raw = (raw_answers.lift(raw, profile) / profile.modulus).astype(np.float64)
    gap = (unmask(second, key, secret) - raw + 0.5) % 1 - 0.5
    return float(np.abs(gap).max())


@residues.exact("profile")
def _mask_of(u: Array, a: Array, *, profile: Profile) -> Array:
    primes = residues.column(profile)
    u = residues.transform(residues.reduce(2 * u[:, None, :], primes), profile)
    return residues.inverse_transform(residues.multiply(u, a, primes), profile)
