"""CKA and RSA of every pair of representations, from the sums over their matrices.

Each is the cosine of two matrices after they have been centred, in one of three ways:

| measure  | centred                                           | diagonal   |
|----------|---------------------------------------------------|------------|
| CKA      | H K H, H = I - 11'/n: rows and columns sum to 0   | kept       |
| unbiased | the same for the sums without the diagonal        | left out   |
| RSA      | K - its mean                                      | left out   |

The unbiased HSIC of independent representations is zero on average; plain CKA is not.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from helix_jax import checks, kinds
from helix_jax.arguments import takes
from helix_jax.linalg import product, wide
from helix_jax.similarity.gram_sums import GramSums, gram_sums
from helix_jax.types import Array


@takes(sums=kinds.GRAM_SUMS)
@wide
def gram_cka(sums: GramSums) -> Array:
    """CKA, tr(K H L H) / sqrt(tr(K H K H) tr(L H L H)), of every pair.

    Args:
      sums: of kernel matrices, from `gram_sums`.

    Returns:
      [M, M]; NaN where a representation does not vary.

    Raises:
      ValueError: fewer than 2 rows.

    Reference: Kornblith et al. 2019, arXiv 1905.00414, equation 2.
    """
    checks.require_rows("gram_cka", sums.rows.shape[1], 2, "kernels are centred")
    return _cosines(centred_inner(sums), _scale(sums))


@takes(sums=kinds.GRAM_SUMS)
@wide
def gram_unbiased_cka(sums: GramSums) -> Array:
    """CKA of every pair with the unbiased estimate of each HSIC.

    Args:
      sums: of kernel matrices, from `gram_sums`.

    Returns:
      [M, M] at most 1, around 0 for independent representations; NaN where one does
      not vary.

    Raises:
      ValueError: fewer than 4 rows.

    Reference: Song et al. 2012, "Feature selection via dependence maximization",
      equation 5.
    """
    n = sums.rows.shape[1]
    checks.require_rows("gram_unbiased_cka", n, 4, "HSIC_1 divides by n - 3")
    return _cosines(unbiased_hsic(sums), _scale(sums) / (n * (n - 3)))


@takes(sums=kinds.GRAM_SUMS)
@wide
def gram_correlation(sums: GramSums) -> Array:
    """Pearson correlation of the off-diagonal values, of every pair: RSA.

    Args:
      sums: of distance matrices, or of their ranks (Spearman), from `gram_sums`.

    Returns:
      [M, M] in [-1, 1]; NaN where all distances are equal.

    Raises:
      ValueError: fewer than 3 rows, one distance.

    Reference: Kriegeskorte, Mur, Bandettini 2008, "Representational similarity
      analysis", Frontiers in Systems Neuroscience 2:4.
    """
    n = sums.rows.shape[1]
    checks.require_rows("gram_correlation", n, 3, "two rows have one distance")
    total = jnp.sum(sums.rows, axis=1)
    spread = sums.inner - jnp.outer(total, total) / (n * (n - 1))
    return _cosines(spread, jnp.diagonal(sums.inner))


@takes(x=kinds.ARRAY, y=kinds.ARRAY)
@wide
def rbf_cka(x: Array, y: Array, *, unbiased: bool = False, **settings: Any) -> Array:
    """CKA with Gaussian kernels.

    Args:
      x: [N, dx] float, source states.
      y: [N, dy] float, target states.
      unbiased: with the unbiased HSIC.
      **settings: bandwidth, product_dtype and block_rows of `gram_sums`.

    Returns:
      []; NaN where a side does not vary.

    Raises:
      ValueError: as `gram_sums`, or fewer than 2 rows (4 if unbiased).

    Reference: Kornblith et al. 2019, arXiv 1905.00414, section 3 (bandwidth as a
      fraction of the median distance).
    """
    checks.require_pair("rbf_cka", x, y)
    sums = gram_sums((x, y), kernel="rbf", **settings)
    return (gram_unbiased_cka if unbiased else gram_cka)(sums)[0, 1]


@takes(x=kinds.ARRAY, y=kinds.ARRAY)
@wide
def rsa(
    x: Array,
    y: Array,
    *,
    distance: str = "correlation",
    ranks: bool = True,
    **settings: Any,
) -> Array:
    """Representational similarity: correlation of the two sides' distance matrices.

    Args:
      x: [N, dx] float, source states.
      y: [N, dy] float, target states.
      distance: correlation, cosine or euclidean.
      ranks: True is Spearman's correlation, False Pearson's.
      **settings: product_dtype and block_rows of `gram_sums`.

    Returns:
      [] in [-1, 1]; NaN where all distances are equal, or undefined (a constant row
      under correlation).

    Raises:
      ValueError: as `gram_sums`, or fewer than 3 rows.

    Reference: Kriegeskorte, Mur, Bandettini 2008.
    """
    checks.require_pair("rsa", x, y)
    sums = gram_sums((x, y), kernel=distance, ranks=ranks, **settings)
    return gram_correlation(sums)[0, 1]


@takes(batches=kinds.STREAM)
def minibatch_cka(batches: Sequence[tuple[Array, Array]], **settings: Any) -> Array:
    """CKA from mini-batches: each HSIC is averaged over them before the ratio.

    The unbiased HSIC of a batch has the same expectation as that of all rows, so the
    average converges to the full form as batches are added, whatever their size.

    Args:
      batches: pairs of [B, dx] and [B, dy] float arrays, B at least 4.
      **settings: kernel, bandwidth, product_dtype of `gram_sums`.

    Returns:
      [].

    Raises:
      ValueError: no batch, or one of fewer than 4 rows.

    Reference: Nguyen, Raghu, Kornblith 2021, arXiv 2010.15327, equation 2.
    """
    total, rows = 0, 0
    for x, y in batches:
        checks.require_pair("minibatch_cka", x, y)
        n = x.shape[0]
        checks.require_rows("minibatch_cka", n, 4, "in every batch; HSIC_1")
        total = _with_batch(total, x, y, **settings)
        rows += n
    if not rows:
        raise ValueError("minibatch_cka: needs at least one batch of rows, got none.")
    return _ratio(total, rows)


@wide
def _with_batch(total: Array | int, x: Array, y: Array, **settings: Any) -> Array:
    """Add one batch to the sum of the batches' HSICs, each times its rows."""
    return total + x.shape[0] * unbiased_hsic(gram_sums((x, y), **settings))


@wide
def _ratio(total: Array, rows: int) -> Array:
    return _cosines(total / rows, jnp.diagonal(total) / rows)[0, 1]


def centred_inner(sums: GramSums) -> Array:
    """[M, M] tr(K_m H K_l H)."""
    n = sums.rows.shape[1]
    rows = sums.rows + sums.diagonal
    total = jnp.sum(rows, axis=1)
    inner = sums.inner + product(sums.diagonal, sums.diagonal.T)
    inner = inner - 2 / n * product(rows, rows.T)
    return inner + jnp.outer(total, total) / n**2


def unbiased_hsic(sums: GramSums) -> Array:
    """[M, M] HSIC_1 of every pair."""
    n = sums.rows.shape[1]
    total = jnp.sum(sums.rows, axis=1)
    hsic = sums.inner + jnp.outer(total, total) / ((n - 1) * (n - 2))
    hsic = hsic - 2 / (n - 2) * product(sums.rows, sums.rows.T)
    return hsic / (n * (n - 3))


def _scale(sums: GramSums) -> Array:
    return jnp.diagonal(sums.inner) + jnp.sum(sums.diagonal**2, axis=1)


def _cosines(inner: Array, scale: Array) -> Array:
    """inner / sqrt(own own'), NaN where own is only the rounding error of its sums."""
    own = jnp.diagonal(inner)
    level = 64 * jnp.finfo(inner.dtype).eps * scale
    root = jnp.sqrt(jnp.where(own > level, own, jnp.nan))
    return inner / jnp.outer(root, root)
