"""The payload of an answer: its parts are packed and decrypted one after the other.

A part holds some of a plan's answer ciphertexts for one group of queries. Its numbers
are words (for each query the results, then the second parts of the ciphertexts) or, in
a profile that does not round, the transformed residues of both parts of every
ciphertext.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from helix_jax.private import answer_words, packing, residues, wire
from helix_jax.private.packing import Plan
from helix_jax.private.profiles import Profile
from helix_jax.private.seal import SecretKey
from helix_jax.types import Array


def part_length(
    plan: Plan, profile: Profile, answers: int, results: int, queries: int
) -> int:
    """Bytes of a part."""
    if profile.rounded:
        return queries * (results + answers * plan.degree) * answer_words.WORD_BYTES
    return wire.residues_length(2 * answers * queries, profile)


def payload_length(plan: Plan, profile: Profile, queries: int) -> int:
    """Bytes of all parts."""
    return part_length(plan, profile, plan.answers, plan.classes, queries)


def pack_words(first: Array, second: Array, answers: int, results: int) -> bytes:
    """Pack words [B, a, r] and [B, a, N]; `results` and `answers` say how many."""
    first, second = (np.asarray(part) for part in (first, second))
    first = first.reshape(len(first), -1)[:, :results]
    second = second[:, :answers].reshape(len(second), -1)
    both = np.concatenate([first, second], axis=1)
    return wire.pack_integers(both, answer_words.WORD_BYTES)


def pack_products(products: Array, answers: int, profile: Profile) -> bytes:
    """Pack the first `answers` of residues [B, a, 2, L, N]."""
    used = np.asarray(products)[:, :answers]
    return wire.pack_residues(used.reshape(-1, *used.shape[-2:]), profile)


def open_part(
    secret: SecretKey,
    data: memoryview,
    plan: Plan,
    answers: int,
    results: int,
    queries: int,
) -> np.ndarray:
    """Phases [B, results] of a part, in (-q / 2, q / 2].

    Raises:
      ProtocolError: residues are out of bounds.
    """
    profile, missing = secret.profile, plan.part - answers
    # The last part is padded, so that all parts share one compiled function.
    if profile.rounded:
        numbers = results + answers * plan.degree
        content = wire.unpack_integers(
            data, (queries, numbers), answer_words.WORD_BYTES
        )
        padding = (0, plan.part * plan.rows - results), (0, missing * plan.degree)
        first, second = (
            np.pad(part, ((0, 0), own))
            for part, own in zip(np.split(content, [results], axis=1), padding)
        )
        phases = answer_words.open_words(
            secret,
            first.reshape(-1, plan.rows),
            second.reshape(-1, plan.degree),
            plan.positions,
        )
    else:
        count = 2 * answers * queries
        content = wire.unpack_residues(data, count, profile, "answer")
        pairs = content.reshape(queries, answers, 2, *content.shape[1:])
        pairs = np.pad(pairs, ((0, 0), (0, missing), *[(0, 0)] * 3))
        phases = _open_products(pairs, secret.residues, plan=plan, profile=profile)
        phases = np.asarray(phases) * profile.modulus
    return phases.reshape(queries, -1)[:, :results]


def add(
    payloads: Sequence[memoryview], plan: Plan, profile: Profile, queries: int
) -> bytes:
    """The payload whose results are the sums of the results of `payloads`.

    Raises:
      ProtocolError: residues are out of bounds.
    """
    if profile.rounded:
        shape = (queries * (plan.classes + plan.answers * plan.degree),)
        size = answer_words.WORD_BYTES
        total = sum(wire.unpack_integers(data, shape, size) for data in payloads)
        return wire.pack_integers(total % answer_words.WORD, size)
    parts, start = [], 0
    for answers, _ in plan.parts:
        for group in packing.groups(queries):
            count = 2 * answers * (group.stop - group.start)
            stop = start + wire.residues_length(count, profile)
            total = sum(
                wire.unpack_residues(data[start:stop], count, profile, "answer")
                for data in payloads
            )
            total %= residues.column(profile)
            parts.append(wire.pack_residues(total, profile))
            start = stop
    return b"".join(parts)


@residues.exact("plan", "profile")
def _open_products(
    pairs: Array, secret: Array, *, plan: Plan, profile: Profile
) -> Array:
    """Phases [B, a, r] as fractions of the modulus, of pairs [B, a, 2, L, N]."""
    primes = residues.column(profile)
    product = residues.near_product(pairs[:, :, 1], secret, primes)
    phases = residues.inverse_transform(pairs[:, :, 0] + product, profile)
    fractions = residues.fractions(phases[..., plan.positions], profile)
    return fractions - jnp.rint(fractions)
