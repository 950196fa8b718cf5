"""Exact mean and deviation of a score over all N! row orders, without shuffling.

For symmetric matrices A, B the sum Z = sum_ij A[p_i, p_j] B[i, j] over a random order p
has a mean and a variance that depend on A and on B by six sums each:

    T = sum_i a_i           S = sum_{i != j} A_ij         a_i = A_ii
    D = sum_i a_i^2         V = sum_{i != j} A_ij^2       r_i = sum_{j != i} A_ij
    C = sum_i a_i r_i       R = sum_i r_i^2

so that a z-score of CKA or RSA costs no shuffles; linear CKA's follows from streamed
NormMoments of any number of rows. For unbiased CKA, whatever the kernels,

    mean = 0,   deviation = sqrt(2 / (n (n - 3)))

Reference: Mantel 1967, "The detection of disease clustering and a generalized
  regression approach" (no diagonal); Kazi-Aoual et al. 1995, "Refined approximations
  to permutation tests for multivariate inference" (centred Gram matrices); the joint
  form and the last line are ours.
"""

from typing import NamedTuple

import jax.numpy as jnp

from helix_jax import checks, kinds
from helix_jax.alignment.moments import usable_moments
from helix_jax.arguments import takes
from helix_jax.linalg import wide
from helix_jax.similarity.gram import centred_inner
from helix_jax.similarity.gram_sums import GramSums
from helix_jax.similarity.norm_moments import NormMoments
from helix_jax.types import Array


class NullMoments(NamedTuple):
    """A score over all orders of the rows.

    Attributes:
      mean: [...].
      deviation: [...] standard deviation.
    """

    mean: Array
    deviation: Array


class MatrixSums(NamedTuple):
    """T, S, D, V, C and R of the top of this file, [...] each."""

    trace: Array
    total: Array
    trace_squares: Array
    squares: Array
    crossed: Array
    row_squares: Array


@wide
def permuted_inner(a: MatrixSums, b: MatrixSums, n: Array) -> NullMoments:
    """Mean and deviation of sum_ij A[p_i, p_j] B[i, j] over all orders p.

    Args:
      a: MatrixSums of A, [...].
      b: MatrixSums of B, broadcast against a.
      n: rows, 4 or more.

    Returns:
      NullMoments.
    """

    def parts(m: MatrixSums) -> tuple[Array, ...]:
        # Products of entries over indices that are all different.
        path = m.row_squares - m.squares
        return (
            m.trace**2 - m.trace_squares,
            m.trace * m.total - 2 * m.crossed,
            path,
            m.total**2 - 2 * m.squares - 4 * path,
        )

    (traces_a, apart_a, path_a, far_a) = parts(a)
    (traces_b, apart_b, path_b, far_b) = parts(b)
    two, three = n * (n - 1), n * (n - 1) * (n - 2)
    mean = a.trace * b.trace / n + a.total * b.total / two
    second = a.trace_squares * b.trace_squares / n + traces_a * traces_b / two
    second += 2 * (2 * a.crossed * b.crossed / two + apart_a * apart_b / three)
    second += 2 * a.squares * b.squares / two + 4 * path_a * path_b / three
    second += far_a * far_b / (three * (n - 3))
    return NullMoments(mean, jnp.sqrt(jnp.maximum(second - mean**2, 0)))


@takes(record=kinds.NORM_MOMENTS)
@wide
def linear_cka_null_moments(record: NormMoments) -> NullMoments:
    """Mean and deviation of `linear_cka` over all pairings of the rows.

    On centred rows the Gram matrix has a_i = |u_i|^2 and r_i = -a_i.

    Args:
      record: NormMoments of paired rows, each counted once.

    Returns:
      NullMoments, [] each.

    Raises:
      ValueError: fewer than 4 rows, or NaN in the moments.
    """
    checks.require_rows("linear_cka_null_moments", record.moments.count, 4, "variance")
    m = usable_moments("linear_cka_null_moments", record.moments)
    sides = []
    for cov, squares in ((m.cov_xx, record.kk), (m.cov_yy, record.ll)):
        norm = jnp.sqrt(jnp.sum(cov**2))
        norm = m.count * jnp.where(norm > 0, norm, jnp.nan)
        trace = m.count * jnp.trace(cov) / norm
        sides.append(_centred(trace, m.count * squares / norm**2))
    return permuted_inner(sides[0], sides[1], m.count)


@takes(sums=kinds.GRAM_SUMS)
@wide
def cka_null_moments(sums: GramSums) -> NullMoments:
    """Mean and deviation of `gram_cka` over all pairings of the rows.

    Args:
      sums: of kernel matrices, from `gram_sums`.

    Returns:
      NullMoments, [M, M] each.

    Raises:
      ValueError: fewer than 4 rows.
    """
    n = sums.rows.shape[1]
    checks.require_rows("cka_null_moments", n, 4, "a variance needs four")
    rows = sums.rows + sums.diagonal
    total = jnp.sum(rows, axis=1, keepdims=True)
    diagonal = sums.diagonal - 2 / n * rows + total / n**2
    norm = jnp.sqrt(jnp.diagonal(centred_inner(sums)))
    diagonal = diagonal / jnp.where(norm > 0, norm, jnp.nan)[:, None]
    side = _centred(jnp.sum(diagonal, axis=1), jnp.sum(diagonal**2, axis=1))
    return _every_pair(side, n)


@wide
def unbiased_cka_null_moments(rows: Array) -> NullMoments:
    """Mean 0 and deviation sqrt(2 / (n (n - 3))) of unbiased CKA, any kernels.

    Args:
      rows: [] n.

    Returns:
      NullMoments, [] each.

    Raises:
      ValueError: fewer than 4 rows.

    Reference: ours; it is the variance in the t test of Székely and Rizzo 2013,
      "The distance correlation t-test of independence in high dimension".
    """
    checks.require_rows("unbiased_cka_null_moments", rows, 4, "HSIC_1 needs four")
    n = jnp.asarray(rows, float)
    return NullMoments(jnp.zeros_like(n), jnp.sqrt(2 / (n * (n - 3))))


@takes(sums=kinds.GRAM_SUMS)
@wide
def correlation_null_moments(sums: GramSums) -> NullMoments:
    """Mean 0 and deviation of `gram_correlation` over all pairings of the rows.

    Args:
      sums: of distance matrices or their ranks, from `gram_sums`.

    Returns:
      NullMoments, [M, M] each.

    Raises:
      ValueError: fewer than 4 rows.
    """
    n = sums.rows.shape[1]
    checks.require_rows("correlation_null_moments", n, 4, "a variance needs four")
    mean = jnp.sum(sums.rows, axis=1, keepdims=True) / (n * (n - 1))
    rows = sums.rows - (n - 1) * mean
    squares = jnp.diagonal(sums.inner) - n * (n - 1) * mean[:, 0] ** 2
    zero, scale = jnp.zeros_like(squares), jnp.where(squares > 0, squares, jnp.nan)
    side = MatrixSums(
        zero, zero, zero, squares / scale, zero, jnp.sum(rows**2, axis=1) / scale
    )
    return _every_pair(side, n)


def _centred(trace: Array, trace_squares: Array) -> MatrixSums:
    """Sums of a matrix of norm 1 whose rows sum to zero."""
    return MatrixSums(
        trace, -trace, trace_squares, 1 - trace_squares, -trace_squares, trace_squares
    )


def _every_pair(side: MatrixSums, n: int) -> NullMoments:
    left = MatrixSums(*(value[:, None] for value in side))
    return permuted_inner(left, side, jnp.asarray(n, float))
