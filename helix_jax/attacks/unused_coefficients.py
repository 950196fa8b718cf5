"""Recover weights from the coefficients of an answer that carry no result.

The query z X^0, with one entry z in the first place of tile t, makes the whole product
z w_t(X): its N coefficients are all weights of that tile, for every class that shares
the ciphertext, times z. T queries read all of W, whereas the result of each query alone
would give one of the d rows.

Under a guarded profile those coefficients are not sent. A client can still compute the
phase of the answer with zeros in their place, which is the second part times its
secret: it is uniform if the mask is.

Reference: docs/threats.md, "Raw answers leak everything", 3.
"""

from collections.abc import Sequence

import numpy as np

from helix_jax.attacks import raw_answers
from helix_jax.attacks.division import KernelGuess
from helix_jax.private import Client, Layer, answer_words
from helix_jax.private.internals import secret_key


def unit_query(layer: Layer, tile: int) -> np.ndarray:
    """[d] the largest query with a single entry, the first of a tile."""
    x = np.zeros(layer.plan.width)
    x[tile * layer.plan.tile] = layer.input_norm
    return x


def read_weights(phases: Sequence[np.ndarray], layer: Layer) -> KernelGuess:
    """Divide whole phases by the entry of the query.

    Args:
      phases: T of [A, N], of the answers to `unit_query` of every tile: integers, or
        floats in the same unit.
      layer: of the provider.

    Returns:
      KernelGuess: exact where the whole product was returned and noise is below z / 2.
    """
    entry = int(np.rint(np.ldexp(layer.input_norm, layer.query_bits)))
    packed = np.stack(phases, axis=1)
    if packed.dtype == object:
        quotients = (2 * packed + entry) // (2 * entry)
        integers = raw_answers.unpack_kernel(quotients, layer.plan).astype(np.int64)
        values = integers.astype(float)
    else:
        values = raw_answers.unpack_kernel(packed / entry, layer.plan)
        integers = np.rint(np.clip(values, -(2**62), 2**62)).astype(np.int64)
    bits = layer.result_bits - layer.query_bits
    return KernelGuess(integers, np.ldexp(values, -bits), True)


def filled_phases(client: Client, layer: Layer, answer: bytes) -> np.ndarray:
    """Phases [A, N] float64 of an answer, with zeros for what was not sent."""
    plan = layer.plan
    parts = raw_answers.read_answer(answer, layer)
    first = np.zeros((plan.answers, plan.degree), np.int64)
    first[:, plan.positions] = parts.results
    everywhere = np.arange(plan.degree)
    return answer_words.open_words(secret_key(client), first, parts.second, everywhere)


def unsent_fractions(phases: np.ndarray, layer: Layer) -> np.ndarray:
    """Phases of the coefficients that were not sent, as fractions of q in [0, 1)."""
    sent = np.isin(np.arange(layer.plan.degree), layer.plan.positions)
    return (phases[:, ~sent] / layer.profile.modulus) % 1.0
