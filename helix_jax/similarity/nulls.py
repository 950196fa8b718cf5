"""Permutation nulls of functions of moments, of neighbours and of rows.

Shuffling the target's rows changes cov_xy alone, X'PY / n: covariances of either side,
their spectra and the nearest neighbours of either side stay as they are, so that each
is computed once. `gram_null` has the nulls of CKA and RSA.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from helix_jax import checks, kinds
from helix_jax.alignment.evaluate import evaluate_map
from helix_jax.alignment.maps import AffineMap
from helix_jax.alignment.moments import Moments, from_batch
from helix_jax.arguments import takes
from helix_jax.linalg import (
    laid_out_transpose,
    product,
    rank_threshold,
    spectrum_of,
    wide,
)
from helix_jax.similarity.cca import canonical_directions, score_directions
from helix_jax.similarity.neighbours import Neighbours, shuffled_neighbours
from helix_jax.stats.permutation import permutation_null
from helix_jax.types import Array

Rows = tuple[Array, Array]


@takes(
    statistic=kinds.FUNCTION, fit=kinds.TWO_SIDES, test=kinds.TWO_SIDES, key=kinds.KEY
)
@wide
def moments_null(
    statistic: Callable[..., Array],
    fit: Rows,
    *arguments: Any,
    test: Rows | None = None,
    permutations: int = 1000,
    key: Array | None = None,
    product_dtype: Any = None,
) -> Array:
    """A function of moments when rows of x and y are paired at random.

    Args:
      statistic: pure function (fit Moments, test Moments or None, *arguments) -> [],
        of module level so that its compilation is reused: `procrustes_distance`,
        `mean_cca`.
      fit: x [N, dx], y [N, dy] float.
      *arguments: arrays passed on.
      test: x, y of the rows to score on; shuffled too.
      permutations: P.
      key: jax.random key; None is jax.random.key(0).
      product_dtype: of X'PY; None is float64 where the backend has it.

    Returns:
      [P].

    Raises:
      ValueError: rows differ, are fewer than 2, or hold NaN.
    """
    splits = [_centred(pair, product_dtype) for pair in (fit, test)]
    rows = max(v.shape[0] for _, _, v in filter(None, splits))
    return permutation_null(
        _of_moments(statistic),
        rows,
        splits,
        arguments,
        permutations=permutations,
        key=key,
    )


def _centred(pair: Rows | None, dtype: Any) -> tuple[Moments, Array, Array] | None:
    """Moments of a split, and its x' / n and y centred."""
    if pair is None:
        return None
    x, y = pair
    checks.require_pair("moments_null", x, y)
    for name, z in zip("xy", pair):
        checks.require_finite("moments_null", name, z)
    moments = from_batch(x, y)
    u, v = (x - moments.mean_x) / x.shape[0], y - moments.mean_y
    dtype = dtype or moments.cov_xy.dtype
    return moments, laid_out_transpose(u.astype(dtype)), v.astype(dtype)


@functools.cache
def _of_moments(statistic: Callable) -> Callable:
    def shuffled(split: tuple | None, order: Array) -> Moments | None:
        if split is None:
            return None
        moments, ut, v = split
        # The first places of a random order, ranked, are a random order themselves.
        cross = product(ut, v[jnp.argsort(order[: v.shape[0]])])
        return moments._replace(cov_xy=cross.astype(moments.cov_xy.dtype))

    def permuted(order: Array, splits: list, arguments: tuple) -> Array:
        return statistic(*(shuffled(split, order) for split in splits), *arguments)

    return permuted


@takes(fit=kinds.TWO_SIDES, test=kinds.TWO_SIDES, rank=kinds.COUNT)
@wide
def cca_null(
    fit: Rows,
    test: Rows | None = None,
    *,
    rank: int,
    weighted: bool = False,
    **settings: Any,
) -> Array:
    """`svcca`, or with weights `pwcca`, under shuffled rows, in principal coordinates.

    Args:
      fit: x [N, dx], y [N, dy] float.
      test: x, y of the rows to score on; None scores on `fit`.
      rank: principal directions of each side.
      weighted: PWCCA instead of SVCCA.
      **settings: permutations, key and product_dtype of `moments_null`.

    Returns:
      [P].
    """
    checks.require_pair("cca_null", *fit)
    moments = from_batch(*fit)
    sides = zip((moments.cov_xx, moments.cov_yy), (moments.mean_x, moments.mean_y))
    bases = [(spectrum_of(cov).basis[:, :rank], mean) for cov, mean in sides]

    def reduced(pair: Rows) -> Rows:
        return tuple(product(z - mean, b) for z, (b, mean) in zip(pair, bases))

    return moments_null(
        _weighted_cca if weighted else _mean_cca,
        reduced(fit),
        bases[0][0].T,
        test=None if test is None else reduced(test),
        **settings,
    )


def _mean_cca(fit: Moments, test: Moments | None, loadings: Array) -> Array:
    directions = canonical_directions(fit)
    scores = (
        directions.correlations if test is None else score_directions(directions, test)
    )
    return jnp.sum(scores) / jnp.sum(directions.kept)


def _weighted_cca(fit: Moments, test: Moments | None, loadings: Array) -> Array:
    directions = canonical_directions(fit, loadings=loadings)
    scores = (
        directions.correlations if test is None else score_directions(directions, test)
    )
    return jnp.sum(directions.weights * scores)


@takes(fit=kinds.TWO_SIDES, test=kinds.TWO_SIDES)
@wide
def predictivity_null(
    fit: Rows, test: Rows, *, penalty: float, **settings: Any
) -> Array:
    """`linear_predictivity` at one penalty under shuffled rows.

    Args:
      fit: x [N, dx], y [N, dy] float, to fit on.
      test: x, y to score on, their pairing shuffled too.
      penalty: the one chosen for the true pairs, relative as in `fit_ridge`.
      **settings: permutations, key and product_dtype of `moments_null`.

    Returns:
      [P].
    """
    checks.require_pair("predictivity_null", *fit)
    moments = from_batch(*fit)
    values, basis = spectrum_of(moments.cov_xx)
    damped = values + penalty * jnp.mean(values)
    keep = damped > rank_threshold(values)
    shrink = jnp.where(keep, 1 / jnp.where(keep, damped, 1), 0)
    fit, test = ((product(x - moments.mean_x, basis), y) for x, y in (fit, test))
    return moments_null(_r2_of_shrunk, fit, shrink, test=test, **settings)


def _r2_of_shrunk(fit: Moments, test: Moments, shrink: Array) -> Array:
    kernel = shrink[:, None] * fit.cov_xy
    bias = fit.mean_y - product(fit.mean_x, kernel)
    return evaluate_map(AffineMap(kernel, bias), test).r2


@wide
def neighbours_null(
    statistic: Callable[[Neighbours, Neighbours], Array],
    x: Neighbours,
    y: Neighbours,
    *,
    permutations: int = 1000,
    key: Array | None = None,
) -> Array:
    """`mutual_neighbours` or `cknna` when the target's rows are shuffled.

    Args:
      statistic: one of the two.
      x: Neighbours by the source states.
      y: Neighbours by the target states.
      permutations: P.
      key: jax.random key; None is jax.random.key(0).

    Returns:
      [P].
    """
    return permutation_null(
        _of_neighbours(statistic),
        x.rows.shape[0],
        x,
        y,
        permutations=permutations,
        key=key,
    )


@functools.cache
def _of_neighbours(statistic: Callable) -> Callable:
    return lambda order, x, y: statistic(x, shuffled_neighbours(y, order))


@wide
def rows_null(
    score: Callable[..., Array],
    a: Array,
    b: Array,
    *arguments: Any,
    permutations: int = 1000,
    key: Array | None = None,
) -> Array:
    """The mean of a score of row pairs when the second's rows are shuffled.

    Args:
      score: (a, b, *arguments) -> [N], of module level: `row_agreement`,
        `row_divergence`, `centred_row_cosine`.
      a: [N, D].
      b: [N, D].
      *arguments: arrays passed on.
      permutations: P.
      key: jax.random key; None is jax.random.key(0).

    Returns:
      [P].

    Raises:
      ValueError: rows differ, or NaN.
    """
    checks.require_pair("rows_null", a, b)
    checks.require_finite("rows_null", "the first", a)
    checks.require_finite("rows_null", "the second", b)
    return permutation_null(
        _mean_of(score),
        a.shape[0],
        jnp.asarray(a),
        jnp.asarray(b),
        *arguments,
        permutations=permutations,
        key=key,
    )


@functools.cache
def _mean_of(score: Callable) -> Callable:
    return lambda order, a, b, *rest: jnp.mean(score(a, b[order], *rest))
