"""Recover rows from the second part of an encrypted cross-covariance, by elimination.

An encrypted fit sums the client's ciphertexts with the provider's integers y_ij,

    c1_out_j = sum_i y_ij c1_i  modulo p,

N equations (times T tiles) in the n unknowns of column j, with coefficients that the
client knows. For n <= N rows, elimination finds all of Y exactly. The first parts give
N more equations, and the other primes of q carry the same small integers, so lattice
reduction could go further; the control here stops at N.

Reference: docs/threats.md, "Raw answers leak everything", 2.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from helix_jax.attacks import modular, raw_answers
from helix_jax.private import FitProvider, answer_words, residues, wire
from helix_jax.private.fit_plan import FitPlan
from helix_jax.private.fit_products import block_turns
from helix_jax.private.internals import unmasked_sums
from helix_jax.private.sampling import SEED_BYTES, uniform_residues


class RowGuess(NamedTuple):
    """Rows that an attack found.

    Attributes:
      integers: [n, J] int64, the provider's centred rows as integers.
      ok: whether the system could be solved.
    """

    integers: np.ndarray
    ok: bool


def raw_covariance(provider: FitProvider) -> np.ndarray:
    """Second parts [J, T, L, N], transformed, as a provider without masks sends them.

    These are the provider's own sums after it has absorbed all rows.
    """
    return unmasked_sums(provider)[:, :, 1]


def masked_covariance(
    messages: Sequence[bytes], plan: FitPlan, provider: FitProvider
) -> np.ndarray:
    """Second parts [J, T, L, N] of the answers that were sent, scaled back from words.

    Args:
      messages: of `FitProvider.results`.
      plan: of the fit.
      provider: for its public offer.
    """
    profile, parts = provider.offer.profile, []
    for message in messages:
        read = wire.read(message, "covariance", profile, binding=None)
        count = read.sizes[1] * plan.tiles
        own = count * plan.tile * answer_words.WORD_BYTES
        second = wire.unpack_integers(
            read.payload[own:], (count, plan.degree), answer_words.WORD_BYTES
        )
        values = raw_answers.words_to_residues(second, profile)
        values = np.asarray(raw_answers.transform(values, profile=profile))
        parts.append(values.reshape(-1, plan.tiles, *values.shape[1:]))
    return np.concatenate(parts)


def row_polynomials(
    messages: Sequence[bytes], plan: FitPlan, provider: FitProvider
) -> np.ndarray:
    """The polynomials that multiplied each provider row, modulo the first prime.

    Args:
      messages: all of `FitClient.chunks`.
      plan: of the fit.
      provider: for its public offer.

    Returns:
      [n, T, N] int64, transformed: second parts, each block rotated to the front.
    """
    profile = provider.offer.profile
    prime, count = profile.primes[0], plan.chunk * plan.tiles
    turns = _turns(plan=plan, profile=profile)
    turns = np.asarray(turns)[None, :, None, 0]  # [1, R, 1, N]
    rows = []
    for message in messages:
        payload = wire.read(message, "rows", profile).payload
        second = uniform_residues(
            bytes(payload[:SEED_BYTES]), (count,), profile, "rows"
        )
        second = second[:, 0].reshape(plan.chunk, 1, plan.tiles, -1)
        turned = np.asarray(_multiply(second, turns, np.array(prime)))
        rows.append(turned.reshape(-1, *turned.shape[2:]))
    return np.concatenate(rows)[: plan.rows]


def solve_rows(
    polynomials: np.ndarray, covariance: np.ndarray, provider: FitProvider
) -> RowGuess:
    """Solve for the provider's integers.

    Args:
      polynomials: [n, T, N] of `row_polynomials`, n at most N.
      covariance: [J, T, L, N] second parts of the answer.
      provider: for its public offer.

    Returns:
      RowGuess: exact where the second parts are.

    Raises:
      ValueError: more rows than equations.
    """
    n, degree = len(polynomials), polynomials.shape[-1]
    if n > degree:
        raise ValueError(
            f"solve_rows: {degree} equations do not determine {n} rows; use at most "
            f"{degree}."
        )
    # Take points in the order of their exponents: rows that share a ciphertext differ
    # by powers of m, which take few values on neighbouring points of SEAL's order.
    points = residues.reversed_bits(degree)[:n]
    matrix = polynomials[:, 0, points].T
    right = covariance[:, 0, 0, points].T
    solution = modular.solve_modular(matrix, right, provider.offer.profile.primes[0])
    return RowGuess(solution.values, bool(solution.ok))


_multiply = residues.exact()(residues.multiply)
_turns = residues.exact("plan", "profile")(block_turns)
