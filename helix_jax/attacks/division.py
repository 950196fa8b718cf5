"""Recover weights from the second part of an answer, by division.

At each of the N points of the transformed domain, a raw answer's second part is

    c1_out = sum_t w_t c1_t  modulo p

where c1_t are the client's own uniform polynomials. One query gives one equation for
the T weights at each point. With T = 1 tile, w = c1_out / c1: any honest query reveals
all of W exactly. Otherwise it takes T queries and a T x T system at each point.

Under a guarded profile c1_out carries a fresh mask that looks uniform, and loses all
but 40 bits. The strongest attack left resends one ciphertext under new numbers, so that
the products are equal and only the masks differ, and averages the answers.

Reference: docs/threats.md, "Raw answers leak everything", 1; circuit privacy: Gentry
  2009, "A fully homomorphic encryption scheme", section 2.
"""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from helix_jax.attacks import modular, raw_answers
from helix_jax.private import Client, Layer, answer_words, wire
from helix_jax.private.internals import signing_key
from helix_jax.private.profiles import Profile
from helix_jax.private.signatures import SIGNATURE_BYTES


class KernelGuess(NamedTuple):
    """Weights that an attack found.

    Attributes:
      integers: [d, k] int64, as they are encoded for encryption.
      kernel: [d, k] float64.
      ok: whether every system could be solved.
    """

    integers: np.ndarray
    kernel: np.ndarray
    ok: bool


def divide(
    queries: Sequence[np.ndarray], answers: Sequence[np.ndarray], layer: Layer
) -> KernelGuess:
    """Solve for all weights, modulo the first prime.

    Args:
      queries: T of [T, L, N] int64, transformed: second parts of queries.
      answers: T of [A, L, N] int64, transformed: second parts of their answers.
      layer: of the provider.

    Returns:
      KernelGuess: exact where the answers are exact and |w| < p / 2.

    Raises:
      ValueError: there are not T queries.
    """
    plan = layer.plan
    if len(queries) != plan.tiles or len(answers) != plan.tiles:
        raise ValueError(
            f"divide: a layer of {plan.tiles} tiles needs as many queries and answers, "
            f"got {len(queries)} queries and {len(answers)} answers."
        )
    # At each point [queries, tiles] w [tiles, answers] = [queries, answers].
    matrix = np.stack([query[:, 0] for query in queries]).transpose(2, 0, 1)
    right = np.stack([answer[:, 0] for answer in answers]).transpose(2, 0, 1)
    prime = layer.profile.primes[0]
    solution = modular.solve_modular(matrix, right, prime)
    values = solution.values.transpose(2, 1, 0)  # [A, T, N]
    packed = coefficients(values % prime, layer.profile)
    integers = raw_answers.unpack_kernel(packed, plan)
    bits = layer.result_bits - layer.query_bits
    return KernelGuess(
        integers, np.ldexp(integers.astype(float), -bits), bool(solution.ok.all())
    )


def coefficients(values: np.ndarray, profile: Profile) -> np.ndarray:
    """Transformed values [..., N] modulo the first prime as centred coefficients."""
    prime = profile.primes[0]
    padded = np.zeros((*values.shape[:-1], len(profile.primes), values.shape[-1]), int)
    padded[..., 0, :] = values
    centred = np.asarray(raw_answers.inverse_transform(padded, profile=profile))[
        ..., 0, :
    ]
    return modular.centred(centred, prime)


def scale_back(second: np.ndarray, profile: Profile) -> np.ndarray:
    """Words [A, N] of an answer's second part as transformed residues [A, L, N]."""
    values = raw_answers.words_to_residues(second, profile)
    return np.asarray(raw_answers.transform(values, profile=profile))


def resend(query: bytes, client: Client, layer: Layer) -> bytes:
    """The same ciphertexts as a new query, whose new number makes it no replay."""
    message = wire.read(query, "query", layer.profile, binding=layer.binding)
    return wire.write(
        "query",
        layer.profile,
        key=message.key,
        number=os.urandom(16),
        binding=layer.binding,
        sizes=message.sizes,
        payload=bytes(message.payload[:-SIGNATURE_BYTES]),
        signing_key=signing_key(client),
    )


def average_words(seconds: Sequence[np.ndarray]) -> np.ndarray:
    """Circular mean of words [A, N] over answers to one ciphertext.

    Reference: Mardia and Jupp 2000, "Directional Statistics", equation 2.2.4.
    """
    total = sum(np.exp(2j * np.pi * (one / answer_words.WORD)) for one in seconds)
    turns = np.angle(total) / (2 * np.pi) % 1.0
    return np.rint(turns * answer_words.WORD).astype(np.int64) % answer_words.WORD
