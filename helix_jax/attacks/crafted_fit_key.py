"""Recover the secret of a fit's masks, with a crafted public key.

A fit sends m coefficients for every column of its result, where m is the width. With

    b = D sum_j 3^j X^(m j),   D above the flood,

and rows whose first parts are zero, the result at coefficient p is 2 D sum_j 3^j
u_(p - m j): together they spell j m coefficients of u, for each column. At a precision
of 12 bits there is room for six digits, so widths of 683 or more read all of every u;
then only rounding protects the second parts, w c1 of the rows.

`crafted_key` does the same to layers; a provider that requires a proof refuses both
keys.

Reference: an audit of this protocol.
"""

import math
import os
from typing import NamedTuple

import numpy as np

from helix_jax.attacks.crafted_key import (
    CraftedKey,
    MaskSecret,
    make_key,
    spell,
    to_phases,
)
from helix_jax.private import answer_words, wire
from helix_jax.private.fit_plan import FitOffer, FitPlan
from helix_jax.private.sampling import SEED_BYTES


class FitWords(NamedTuple):
    """Results of a fit as they are sent.

    Attributes:
      results: [A, m] int64 words, one ciphertext for each column and tile.
      second: [A, N] int64 words.
    """

    results: np.ndarray
    second: np.ndarray


def craft_fit_key(offer: FitOffer, plan: FitPlan) -> CraftedKey:
    """Craft a key for a fit, from its offer."""
    profile = offer.profile
    step_bits = offer.flood_bits + 1  # the flood is within 2 R, half of a step of 2 D
    room = math.log2(profile.modulus) - 1 - step_bits
    digits = min(math.floor(room / math.log2(3)), -(-plan.degree // plan.tile))
    return make_key(profile, step_bits, digits, spacing=plan.tile)


def empty_rows(offer: FitOffer, plan: FitPlan, key: CraftedKey) -> list[bytes]:
    """All messages of rows, with first parts of zero."""
    profile, count = offer.profile, plan.chunk * plan.tiles
    zeros = np.zeros((count, len(profile.primes), plan.degree), np.int64)
    return [
        wire.write(
            "rows",
            profile,
            key=key.public.key,
            number=offer.number,
            sizes=(number, plan.width, plan.rows),
            payload=os.urandom(SEED_BYTES) + wire.pack_residues(zeros, profile),
            signing_key=key.signing,
        )
        for number in range(plan.chunks)
    ]


def read_results(messages: list[bytes], offer: FitOffer, plan: FitPlan) -> FitWords:
    """The words of all results."""
    parts = []
    for message in messages:
        read = wire.read(message, "covariance", offer.profile, binding=None)
        count = read.sizes[1] * plan.tiles
        sizes = count * plan.tile, count * plan.degree
        words = wire.unpack_integers(
            read.payload, (sum(sizes),), answer_words.WORD_BYTES
        )
        first, second = np.split(words, sizes[:1])
        parts.append((first.reshape(count, -1), second.reshape(count, -1)))
    return FitWords(*(np.concatenate(part) for part in zip(*parts)))


def read_fit_secret(words: FitWords, plan: FitPlan, key: CraftedKey) -> MaskSecret:
    """Read u of every ciphertext from the results of empty rows."""
    n, steps = plan.degree, plan.tile * np.arange(key.digits)
    values = np.zeros(words.second.shape, np.int64)
    known = np.zeros(words.second.shape, bool)
    phases = to_phases(words.results, key.public.profile)
    for number, row in enumerate(phases):
        for p, phase in enumerate(row):
            signs = np.where(p >= steps, 1, -1)  # X^N = -1
            values[number, (p - steps) % n] = signs * spell(phase, key)
            known[number, (p - steps) % n] = True
    return MaskSecret(values, known)
