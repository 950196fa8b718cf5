"""Numbers modulo q as shares of a few bits, and the limits that both sides apply.

A result r is sent with a uniform offset o, both modulo q, and read as r + o. Cut to the
first `bits` bits, the difference of floor(2^bits (r + o) / q) and floor(2^bits o / q)
is within one of 2^bits r / q, modulo 2^bits.
"""

import hashlib
import secrets

import numpy as np

from helix_jax.private.labels.transfers import MAX_COUNT
from helix_jax.private.layer import Layer
from helix_jax.private.packing import MAX_QUERIES, Plan
from helix_jax.private.policies import LABEL_BITS
from helix_jax.private.profiles import Profile


def draw_offsets(
    queries: int, plan: Plan, answers: int, profile: Profile
) -> tuple[np.ndarray, np.ndarray]:
    """Draw fresh uniform numbers modulo q, one for each result.

    Args:
      queries: B.
      plan: of the layer.
      answers: A, ciphertexts of the results, including those that pad the last part.
      profile: of the ring.

    Returns:
      Their residues [B, A, L, r] int64, zero where there is no result, and their shares
      [B, k] int64.
    """
    count = queries * plan.classes
    drawn = np.array([secrets.randbelow(profile.modulus) for _ in range(count)], object)
    residues = np.zeros((queries, answers * plan.rows, len(profile.primes)), np.int64)
    for number, prime in enumerate(profile.primes):
        own = (drawn % prime).astype(np.int64)
        residues[:, : plan.classes, number] = own.reshape(queries, -1)
    by_answer = residues.reshape(queries, answers, plan.rows, -1).swapaxes(2, 3)
    shares = ((drawn << LABEL_BITS) // profile.modulus).astype(np.int64)
    return by_answer, shares.reshape(queries, -1)


def cut(fractions: np.ndarray) -> np.ndarray:
    """Shares of fractions of q, ignoring whole multiples: int64 below 2^LABEL_BITS."""
    whole = np.floor(np.ldexp(fractions, LABEL_BITS)).astype(np.int64)
    return whole % 2**LABEL_BITS


def bits_of(shares: np.ndarray) -> np.ndarray:
    """The bits of shares: [LABEL_BITS, *shape] uint8, lowest first."""
    places = np.arange(LABEL_BITS).reshape(-1, *(1,) * shares.ndim)
    return (shares >> places & 1).astype(np.uint8)


def most_queries(layer: Layer) -> int:
    """The most queries in one message of labels; 0 if there are too many classes."""
    return min(MAX_COUNT // (layer.plan.classes * LABEL_BITS), MAX_QUERIES)


def count_transfers(layer: Layer, queries: int) -> int:
    """The number of transfers for the labels of `queries` queries.

    Raises:
      ValueError: they are too many for one message.
    """
    count = queries * layer.plan.classes * LABEL_BITS
    if count > MAX_COUNT:
        raise ValueError(
            f"labels of {queries} queries and {layer.plan.classes} classes take "
            f"{count} transfers, a message holds {MAX_COUNT}: ask at most "
            f"{most_queries(layer)} at once."
        )
    return count


def binding(layer: Layer, transfers: bytes) -> bytes:
    """16-byte hash of the layer and of the number of the agreed transfers."""
    return hashlib.sha256(layer.binding + transfers).digest()[:16]
