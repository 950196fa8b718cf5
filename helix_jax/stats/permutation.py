"""Permutation tests: how large a score gets for wrongly paired rows.

    p = (1 + number of shuffles that score at least as much) / (1 + shuffles)

which is never zero and, if the null is true, at most a with probability at most a.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax import checks, kinds, numeric
from helix_jax.arguments import takes
from helix_jax.linalg import product, wide, wide_dtype
from helix_jax.stats.documents import document_codes
from helix_jax.types import Array


@takes(statistic=kinds.FUNCTION, rows=kinds.COUNT, key=kinds.KEY)
@wide
def permutation_null(
    statistic: Callable[..., Any],
    rows: int,
    *arguments: Any,
    permutations: int = 1000,
    key: Array | None = None,
    at_once: int = 1,
) -> Any:
    """A statistic under random orders of the rows.

    Args:
      statistic: pure function (order [N] int, *arguments) -> array or arrays, of
        module level (or a cached partial) so that its compilation is reused.
      rows: N.
      *arguments: arrays or records of arrays that the statistic reads.
      permutations: P.
      key: jax.random key; None is jax.random.key(0). Shuffle i depends on the key and
        i only, so that more shuffles extend the same ones.
      at_once: shuffles per vectorised step; memory grows with it, the result depends
        on it only by rounding.

    Returns:
      What the statistic returns, with a leading axis P.

    Raises:
      ValueError: fewer than two rows or one permutation.
    """
    checks.require_rows("permutation_null", rows, 2, "one row has one order")
    if permutations < 1 or at_once < 1:
        raise ValueError(
            "permutation_null: permutations and at_once need to be 1 or more, got "
            f"{permutations} and {at_once}."
        )
    key = jax.random.key(0) if key is None else key
    return _null(
        key,
        arguments,
        statistic=statistic,
        rows=rows,
        permutations=permutations,
        at_once=min(at_once, permutations),
    )


@functools.partial(
    jax.jit, static_argnames=("statistic", "rows", "permutations", "at_once")
)
def _null(
    key: Array,
    arguments: Any,
    *,
    statistic: Callable[..., Any],
    rows: int,
    permutations: int,
    at_once: int,
) -> Any:
    def permuted(number: Array) -> Any:
        order = jax.random.permutation(jax.random.fold_in(key, number), rows)
        return statistic(order, *arguments)

    return jax.lax.map(permuted, jnp.arange(permutations), batch_size=at_once)


@wide
def permutation_p(score: Array, null: Array, *, smaller: bool = False) -> Array:
    """One-sided p-value of a score among its shuffles.

    Args:
      score: [...].
      null: [P, ...] from `permutation_null`.
      smaller: whether smaller scores are the remarkable ones, as for distances.

    Returns:
      [...] (1 + b) / (1 + P), where b counts shuffles that are as remarkable as the
      score, equal up to rounding included; a NaN among them counts, and a score of NaN
      has p = NaN.

    Raises:
      ValueError: shapes do not fit.

    Reference: Phipson and Smyth 2010, "Permutation p-values should never be zero",
      section 4.
    """
    if np.shape(null)[1:] != np.shape(score) or not np.ndim(null):
        raise ValueError(
            "permutation_p: null needs a leading axis of shuffles before the score's "
            f"{list(np.shape(score))}, got {list(np.shape(null))}."
        )
    score, null = (
        jnp.asarray(numeric.numbers("permutation_p", name, z))
        for name, z in (("score", score), ("null", null))
    )
    checks.require_rows("permutation_p", len(null), 1, "shuffles to compare with")
    coarser = max(
        (jnp.finfo(z.dtype).eps for z in (score, null) if _is_float(z)), default=0
    )
    score, null = score.astype(wide_dtype()), null.astype(wide_dtype())
    # A shuffle that changes nothing gives the same score up to the order of its sums.
    rounding = 100 * coarser * jnp.abs(score)
    less = null > score + rounding if smaller else null < score - rounding
    p = (1 + jnp.sum(~less, axis=0)) / (1 + null.shape[0])
    return jnp.where(jnp.isnan(score), jnp.nan, p)


def _is_float(values: Array) -> bool:
    return jnp.issubdtype(values.dtype, jnp.floating)


@takes(key=kinds.KEY)
@wide
def sign_flip_p(
    differences: Array,
    documents: Sequence[str] | Array,
    *,
    permutations: int = 10_000,
    key: Array | None = None,
) -> Array:
    """Two-sided p-value of a mean difference, by flipping whole documents' signs.

    If two arms are alike, exchanging them within a document changes nothing: the sum
    over rows of each document is as likely with either sign.

    Args:
      differences: [N] float, one arm's score minus the other's on the same rows.
      documents: [N] document of each row.
      permutations: P.
      key: jax.random key; None is jax.random.key(0).

    Returns:
      [] p-value.

    Raises:
      ValueError: rows differ, or NaN.

    Reference: Fisher 1935, "The design of experiments", section 21.
    """
    differences = numeric.numbers("sign_flip_p", "differences", differences)
    differences = np.asarray(differences, np.float64)
    checks.require_finite("sign_flip_p", "differences", differences)
    if differences.ndim != 1 or np.shape(documents) != differences.shape:
        raise ValueError(
            "sign_flip_p: needs a difference and a document for each row, got "
            f"{list(differences.shape)} and {list(np.shape(documents))}."
        )
    codes, _ = document_codes("sign_flip_p", documents, len(differences))
    sums = jnp.asarray(np.bincount(codes, differences), wide_dtype())
    key = jax.random.key(0) if key is None else key
    null = jnp.abs(_flipped(sums, key, permutations=permutations))
    # Flips that give back the same sum do so up to rounding only.
    rounding = 8 * jnp.finfo(sums.dtype).eps * jnp.sum(jnp.abs(sums))
    return permutation_p(jnp.abs(jnp.sum(sums)) - rounding, null)


@functools.partial(jax.jit, static_argnames="permutations")
def _flipped(sums: Array, key: Array, *, permutations: int) -> Array:
    def one(number: Array) -> Array:
        key_of = jax.random.fold_in(key, number)
        return product(jax.random.rademacher(key_of, sums.shape, sums.dtype), sums)

    numbers = jnp.arange(permutations)
    return jax.lax.map(one, numbers, batch_size=min(64, permutations))
