"""Recover weights from the noise of decrypted results.

A result's phase is <w, z> + <w, e> and further terms, and the client knows e, the
errors of its own encryption. So each result of any query gives one linear equation in
the integer weights, even for a query of zeros, whose honest answer reveals nothing.
With r results in a ciphertext and m entries in a tile

    noise at i m + m - 1 = sum_v w_v e_(i m + m - 1 - v),   e_(-u) = -e_(N - u),

over the r m T weights of that ciphertext: about d queries determine all of them, and
rounding makes the solution exact.

Under a guarded profile the flood is 2^40 times larger than this noise in any single
query. Q queries gain a factor of sqrt(Q).

Reference: docs/threats.md, "Raw answers leak everything", 4; Li and Micciancio 2020,
  eprint 2020/1533, for what decrypted noise tells; the equations: ours.
"""

import numpy as np
import scipy.linalg

from helix_jax.private import Layer
from helix_jax.private.packing import Plan


def noise_matrix(errors: np.ndarray, plan: Plan, results: int) -> np.ndarray:
    """Coefficients of the weights in the noise of results.

    Args:
      errors: [Q, T, N] int, of Q queries.
      plan: of the layer.
      results: s, results that the ciphertext holds, at most plan.rows.

    Returns:
      [Q s, T s m] float64, weights in the order of `pack_kernel`.
    """
    degree = plan.degree
    index = plan.positions[:results, None] - np.arange(results * plan.tile)[None]
    signs = np.where(index < 0, -1.0, 1.0)
    picked = errors[:, :, index % degree] * signs  # [Q, T, s, s m]
    return picked.transpose(0, 2, 1, 3).reshape(len(errors) * results, -1)


def solve_weights(errors: np.ndarray, noise: np.ndarray, layer: Layer) -> np.ndarray:
    """Solve for all integer weights by least squares.

    Args:
      errors: [Q, T, N] int, of Q queries, Q > d.
      noise: [Q, k] float64, results of queries of zeros minus the bias, in units of
        the integers (times 2^result_bits).
      layer: of the provider.

    Returns:
      [d, k] float64; round it if the noise was exact.

    Raises:
      ValueError: too few queries.
    """
    plan = layer.plan
    if len(errors) <= plan.tiles * plan.tile or noise.shape[1] != plan.classes:
        raise ValueError(
            f"solve_weights: {plan.width} weights a class need more than "
            f"{plan.tiles * plan.tile} queries with {plan.classes} results each, got "
            f"{len(errors)} with {noise.shape[1]}."
        )
    full, rest = divmod(plan.classes, plan.rows)
    parts = []
    for start, answers, results in ((0, full, plan.rows), (full * plan.rows, 1, rest)):
        if not answers or not results:
            continue
        matrix = noise_matrix(errors, plan, results)
        right = noise[:, start : start + answers * results]
        right = right.reshape(len(errors), answers, results).transpose(0, 2, 1)
        right = right.reshape(-1, answers)
        # Normal equations: errors are independent, so the condition number is small.
        factor = scipy.linalg.cho_factor(matrix.T @ matrix)
        found = scipy.linalg.cho_solve(factor, matrix.T @ right)
        # One step of refinement: exact rounding needs every bit.
        found = found + scipy.linalg.cho_solve(
            factor, matrix.T @ (right - matrix @ found)
        )
        rows = found.T.reshape(answers, plan.tiles, results, plan.tile)
        blocks = rows.transpose(1, 3, 0, 2)[:, ::-1]
        parts.append(blocks.reshape(plan.tiles * plan.tile, answers * results))
    return np.concatenate(parts, axis=1)[: plan.width]


def zero_results(phases: np.ndarray, plan: Plan) -> np.ndarray:
    """Whole phases [Q, A, N] at the results' coefficients: [Q, k] float64."""
    used = phases[:, :, plan.positions].astype(np.float64)
    return used.reshape(len(phases), -1)[:, : plan.classes]
