"""Scores of a map that need the rows themselves: cosines, streamed; R2 by document."""

import functools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from helix_jax import checks, kinds, numeric
from helix_jax.alignment.accumulate import fold_rows
from helix_jax.alignment.maps import AffineMap, StateMap, apply_map
from helix_jax.arguments import takes
from helix_jax.linalg import wide, wide_dtype
from helix_jax.stats import Interval, bootstrap_statistic
from helix_jax.types import Array


class RowScores(NamedTuple):
    """Means over rows.

    Attributes:
      count: [] rows.
      cosine: [] mean of cos(y_hat_i, y_i).
      centred_cosine: [] mean of cos(y_hat_i - centre, y_i - centre). Raw states share a
        large mean, which alone brings raw cosines near 1, but not this one.
      squared_error: [] mean of |y_hat_i - y_i|^2.
    """

    count: Array
    cosine: Array
    centred_cosine: Array
    squared_error: Array


@wide
def row_cosine(a: Array, b: Array) -> Array:
    """Cosine of each row of a [..., D] with its row of b; zero where either is zero.

    Raises:
      TypeError, ValueError: not numbers, or of two shapes.
    """
    a, b = both_rows("row_cosine", a, b)
    norms = jnp.linalg.norm(a, axis=-1) * jnp.linalg.norm(b, axis=-1)
    inner = jnp.sum(a * b, axis=-1)
    return jnp.where(norms > 0, inner / jnp.where(norms > 0, norms, 1), 0)


def both_rows(who: str, a: Array, b: Array) -> tuple[Array, Array]:
    """Rows of a and b [..., D] in a float dtype wide enough for sums.

    Raises:
      TypeError, ValueError: not numbers, or of two shapes.
    """
    a, b = (
        jnp.asarray(numeric.numbers(who, name, z))
        for name, z in (("the first", a), ("the second", b))
    )
    checks.require_shape(who, "the second", b, a.shape)
    return a, b


class _State(NamedTuple):
    affine: AffineMap
    centre: Array
    sums: RowScores


@takes(affine=kinds.MAP, batches=kinds.STREAM, centre=kinds.ARRAY)
def score_rows(
    affine: AffineMap, batches: Iterable[tuple[Any, Any]], *, centre: Array
) -> RowScores:
    """Mean cosines and squared error of a map over a stream of paired row batches.

    Args:
      affine: AffineMap from dx to dy.
      batches: pairs of [B, dx] and [B, dy] float arrays, as for `accumulate`.
      centre: [dy] centre of the centred cosine: the mean of the target's *fit* rows
        (`moments.mean_y`), so that the test rows are not used.

    Returns:
      RowScores.

    Raises:
      ValueError: no rows, widths that do not fit, or NaN or infinity, with the row.
    """
    checks.require_width(
        "score_rows", "centre", jnp.shape(centre)[0], affine.kernel.shape[1]
    )
    start = functools.partial(_start, affine, centre)
    return _means(fold_rows(_update, start, batches).sums)


def _start(affine: AffineMap, centre: Array, _x: Array, _y: Array) -> _State:
    zero = jnp.zeros((), wide_dtype())
    return _State(affine, jnp.asarray(centre), RowScores(zero, zero, zero, zero))


@wide
def _means(sums: RowScores) -> RowScores:
    return RowScores(sums.count, *(value / sums.count for value in sums[1:]))


def _update(state: _State, x: Array, y: Array, weights: Array) -> _State:
    y_hat = apply_map(state.affine, x)
    checks.require_width("score_rows", "y", y.shape[1], y_hat.shape[1])
    y, centre = y.astype(y_hat.dtype), state.centre.astype(y_hat.dtype)
    scores = (
        jnp.ones_like(weights),
        row_cosine(y_hat, y),
        row_cosine(y_hat - centre, y - centre),
        jnp.sum((y_hat - y) ** 2, axis=1),
    )
    sums = RowScores(
        *(
            total + jnp.sum(weights * score, dtype=total.dtype)
            for total, score in zip(state.sums, scores)
        )
    )
    return state._replace(sums=sums)


@takes(affine=kinds.MAP, x=kinds.ARRAY, y=kinds.ARRAY)
def squared_errors(affine: StateMap, x: Array, y: Array) -> np.ndarray:
    """|y_hat_i - y_i|^2 of each row.

    Args:
      affine: a map from dx to dy.
      x: [N, dx] float, source states.
      y: [N, dy] float, target states.

    Returns:
      [N] float64.
    """
    mapped = np.asarray(apply_map(affine, x), np.float64)
    return np.sum((mapped - np.asarray(y)) ** 2, axis=1)


@takes(y=kinds.ARRAY)
def deviations(y: Array, *, centre: Array | None = None) -> np.ndarray:
    """|y_i - centre|^2 of each row of y [N, D]: [N] float64; None is their mean [D]."""
    y = np.asarray(y, np.float64)
    centre = y.mean(0) if centre is None else np.asarray(centre, np.float64)
    return np.sum((y - centre) ** 2, axis=1)


def _r2_of_sums(sums: Array) -> Array:
    return 1 - sums[0] / sums[1]


@takes(affine=kinds.MAP, test=kinds.TWO_SIDES, key=kinds.KEY)
def r2_interval(
    affine: StateMap,
    test: tuple[Array, Array],
    documents: Sequence[str] | Array,
    *,
    resamples: int = 2000,
    key: Array | None = None,
) -> Interval:
    """R2 of a map with its interval over documents, see `r2_of_rows`.

    Args:
      affine: a map from dx to dy.
      test: x [N, dx] and y [N, dy] float.
      documents: [N] document of each row.
      resamples: R.
      key: jax.random key; None is jax.random.key(0).

    Returns:
      Interval.

    Raises:
      ValueError: as `bootstrap_statistic`.
    """
    errors, spread = squared_errors(affine, *test), deviations(test[1])
    return r2_of_rows(errors, spread, documents, resamples=resamples, key=key)


def r2_of_rows(
    errors: Array,
    deviations: Array,
    documents: Sequence[str] | Array,
    *,
    resamples: int = 2000,
    key: Array | None = None,
) -> Interval:
    """R2 = 1 - sum of errors / sum of deviations, with its interval over documents.

    The deviations are from the mean of all test rows in every resample.

    Args:
      errors: [N] from `squared_errors`, or means of some maps' errors.
      deviations: [N] from `deviations`.
      documents, resamples, key: as for `r2_interval`.

    Returns:
      Interval.

    Raises:
      ValueError: as `bootstrap_statistic`.
    """
    sums = np.stack([errors, deviations], axis=1)
    return bootstrap_statistic(
        sums, documents, _r2_of_sums, resamples=resamples, key=key
    )
