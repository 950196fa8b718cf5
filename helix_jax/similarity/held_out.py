"""Measures of a pair that are fitted on some rows and scored on others.

| measure     | fitted                              | scored on test rows       |
|-------------|-------------------------------------|---------------------------|
| svcca       | principal and canonical directions  | mean correlation          |
| pwcca       | the same, and weights               | weighted mean correlation |
| procrustes  | rotation of principal directions    | distance: 0 is closest    |
| r2_forward  | ridge map, penalty from select rows | R2 of y from x            |
| r2_backward | the same from y to x                | R2 of x from y            |
| cosine      | the map of r2_forward               | cosine about fit's mean   |
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from helix_jax.alignment.evaluate import evaluate_map
from helix_jax.alignment.maps import AffineMap, apply_map
from helix_jax.alignment.moments import Moments, from_batch
from helix_jax.alignment.ridge import fit_ridge, select_penalty
from helix_jax.linalg import product, spectrum_of, wide
from helix_jax.similarity.cca import canonical_directions, score_directions
from helix_jax.similarity.functional import centred_row_cosine
from helix_jax.similarity.nulls import (
    Rows,
    cca_null,
    moments_null,
    predictivity_null,
    rows_null,
)
from helix_jax.similarity.predictivity import swapped
from helix_jax.similarity.procrustes import procrustes_distance
from helix_jax.types import Array

HELD_OUT_MEASURES = (
    "svcca",
    "pwcca",
    "procrustes",
    "r2_forward",
    "r2_backward",
    "cosine",
)


class FittedPair(NamedTuple):
    """What is fitted for a pair before its test rows are seen.

    Attributes:
      fit: Moments of the fit rows.
      bases: principal directions of x [dx, rank] and of y [dy, rank].
      forward: AffineMap from x to y.
      backward: AffineMap from y to x.
      penalties: [2] those of the two maps, relative.
    """

    fit: Moments
    bases: tuple[Array, Array]
    forward: AffineMap
    backward: AffineMap
    penalties: Array


@wide
def fit_pair(fit: Rows, select: Rows, *, rank: int) -> FittedPair:
    """Fit everything that the measures of this file need.

    Args:
      fit: x [N, dx], y [N, dy] float.
      select: rows that choose the penalties.
      rank: principal directions of each side for svcca, pwcca and procrustes.

    Returns:
      FittedPair.

    Raises:
      ValueError: as `from_batch` and `fit_ridge`.
    """
    moments, choose = from_batch(*fit), from_batch(*select)
    there = select_penalty(fit_ridge(moments), choose).fit
    back = select_penalty(fit_ridge(swapped(moments)), swapped(choose)).fit
    covariances = (moments.cov_xx, moments.cov_yy)
    bases = tuple(spectrum_of(cov).basis[:, :rank] for cov in covariances)
    penalties = jnp.stack([there.penalty, back.penalty])
    return FittedPair(moments, bases, there.map, back.map, penalties)


@wide
def score_pair(fitted: FittedPair, test: Rows) -> dict[str, Array]:
    """All HELD_OUT_MEASURES on test rows; jit-able.

    Args:
      fitted: from `fit_pair`.
      test: x [N, dx], y [N, dy] float.

    Returns:
      measure -> [].

    Raises:
      ValueError: too few fit rows for the ranks (`canonical_directions`), where the
        fitted pair is concrete.
    """
    moments = from_batch(*test)
    small_fit, small_test = (reduced(fitted, m) for m in (fitted.fit, moments))
    directions = canonical_directions(small_fit, loadings=fitted.bases[0].T)
    correlations = score_directions(directions, small_test)
    kept = jnp.sum(directions.kept)
    return {
        "svcca": jnp.sum(correlations) / jnp.where(kept > 0, kept, jnp.nan),
        "pwcca": jnp.sum(directions.weights * correlations),
        "procrustes": procrustes_distance(small_fit, small_test),
        "r2_forward": evaluate_map(fitted.forward, moments).r2,
        "r2_backward": evaluate_map(fitted.backward, swapped(moments)).r2,
        "cosine": jnp.mean(row_cosines(fitted, test)),
    }


@wide
def row_cosines(fitted: FittedPair, test: Rows) -> Array:
    """[N] cosine of each mapped test row with its target row."""
    mapped = apply_map(fitted.forward, test[0])
    return centred_row_cosine(mapped, test[1], fitted.fit.mean_y)


@wide
def pair_nulls(
    fitted: FittedPair,
    fit: Rows,
    test: Rows,
    *,
    measures: Sequence[str] = HELD_OUT_MEASURES,
    permutations: int = 1000,
    key: Array | None = None,
    product_dtype: Any = None,
) -> dict[str, Array]:
    """Null scores: pairings of fit and test rows are shuffled, and maps refitted.

    The penalty is that of the true pairs. For the cosine the map is kept and the test
    rows are shuffled, so that its null shows what shared directions alone give.

    Args:
      fitted: from `fit_pair`.
      fit: the rows it was fitted on.
      test: x, y.
      measures: names among HELD_OUT_MEASURES.
      permutations: P.
      key: jax.random key; None is jax.random.key(0).
      product_dtype: of X'PY; None is float64 where the backend has it.

    Returns:
      measure -> [P].
    """
    settings: dict[str, Any] = {"permutations": permutations, "key": key}
    narrow = settings | {"product_dtype": product_dtype}
    rank = fitted.bases[0].shape[1]

    def small(rows: Rows) -> Rows:
        return tuple(product(z, basis) for z, basis in zip(rows, fitted.bases))

    def turned(rows: Rows) -> Rows:
        return rows[::-1]

    penalties = [float(penalty) for penalty in fitted.penalties]
    made = {
        "svcca": lambda: cca_null(fit, test, rank=rank, **narrow),
        "pwcca": lambda: cca_null(fit, test, rank=rank, weighted=True, **narrow),
        "procrustes": lambda: moments_null(
            procrustes_distance, small(fit), test=small(test), **narrow
        ),
        "r2_forward": lambda: predictivity_null(
            fit, test, penalty=penalties[0], **narrow
        ),
        "r2_backward": lambda: predictivity_null(
            turned(fit), turned(test), penalty=penalties[1], **narrow
        ),
        "cosine": lambda: rows_null(
            centred_row_cosine,
            apply_map(fitted.forward, test[0]),
            test[1],
            fitted.fit.mean_y,
            **settings,
        ),
    }
    return {name: made[name]() for name in measures}


def reduced(fitted: FittedPair, m: Moments) -> Moments:
    """Moments in the principal coordinates of the fit rows."""
    x, y = fitted.bases
    return Moments(
        m.count,
        product(m.mean_x, x),
        product(m.mean_y, y),
        product(x.T, product(m.cov_xx, x)),
        product(x.T, product(m.cov_xy, y)),
        product(y.T, product(m.cov_yy, y)),
    )


score_pair_jitted = jax.jit(score_pair)
