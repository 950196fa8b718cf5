"""Partial least squares from moments: directions of largest covariance, one by one.

With C = cov_xy at first, component a is

    w = leading left singular vector of C       r = w - sum_j<a (p_j' w) r_j
    p = cov_xx r / (r' cov_xx r)                q = C' r / (r' cov_xx r)
    C <- C - (r' cov_xx r) p q'                 kernel_k = sum_a<=k r_a q_a'

which are the maps of NIPALS with regression on the scores (PLS2, scikit-learn's
PLSRegression without scaling), without its passes over rows. Each leading vector is
found by Krylov sweeps of a few products with C, started at the last component's second
Ritz vector.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from helix_jax import kinds
from helix_jax.alignment.moments import Moments, usable_moments
from helix_jax.alignment.path import MapPath
from helix_jax.alignment.ranks import kept_directions, rank_grid
from helix_jax.arguments import takes
from helix_jax.linalg import product, rounding_variance, wide
from helix_jax.types import Array

COMPONENTS = 64
"""Most components of the default grid: they are computed one after the other."""

_KRYLOV, _SWEEPS, _TOLERANCE = 12, 30, 1e-8


@takes(moments=kinds.MOMENTS)
@wide
def fit_pls(moments: Moments, *, ranks: Sequence[int] | None = None) -> MapPath:
    """Partial least squares for many numbers of components at once.

    Args:
      moments: of the rows to fit on.
      ranks: numbers of components, from 1 to min(dx, dy); None is a grid up to
        `COMPONENTS`.

    Returns:
      MapPath, P the number of ranks. `rank` counts the components that exist: fewer
      than requested if the covariance of source and target is exhausted earlier.
      `condition` is the largest over the smallest variance of a score.

    Raises:
      ValueError: fewer than 2 rows, NaN, or ranks out of range.

    Reference: Dayal and MacGregor 1997, "Improved PLS algorithms", algorithm 2; Wold,
      Ruhe, Wold, Dunn 1984 (NIPALS).
    """
    moments = usable_moments("fit_pls", moments)
    limit = min(moments.cov_xy.shape)
    ranks = rank_grid(min(limit, COMPONENTS)) if ranks is None else ranks
    keep = kept_directions("fit_pls", ranks, limit)
    parts = _components(moments.cov_xx, moments.cov_xy, count=int(max(ranks)))
    gains = keep[:, : parts.exists.shape[0]] * parts.exists
    used = gains > 0
    largest = jnp.max(jnp.where(used, parts.variance, 0), axis=1)
    smallest = jnp.min(jnp.where(used, parts.variance, jnp.inf), axis=1)
    noise = jnp.max(rounding_variance(moments.mean_x))
    return MapPath(
        jnp.zeros(len(keep), gains.dtype),
        jnp.sum(used, axis=1, dtype=jnp.int32),
        gains,
        parts.left,
        parts.right,
        moments.mean_x,
        moments.mean_y,
        largest / smallest,
        parts.exists[0]
        & parts.converged[0]
        & (parts.variance[0] > noise)
        & (keep[:, 0] > 0),
    )


class _Components(NamedTuple):
    """[K] components: left [dx, K] r, right [dy, K] q, variance of the scores."""

    left: Array
    right: Array
    variance: Array
    exists: Array
    converged: Array


@functools.partial(jax.jit, static_argnames="count")
def _components(cov_xx: Array, cov_xy: Array, *, count: int) -> _Components:
    dx, dy = cov_xy.shape
    left, loadings = (jnp.zeros((dx, count), cov_xx.dtype) for _ in range(2))
    start = jnp.cos(jnp.arange(dy, dtype=cov_xx.dtype) ** 2)  # in no special direction
    start = start / jnp.linalg.norm(start)
    level = jnp.finfo(cov_xx.dtype).eps * max(dx, dy)
    tiny = jnp.finfo(cov_xx.dtype).tiny
    first = jnp.linalg.norm(cov_xy)

    def component(carry: tuple, place: Array) -> tuple[tuple, tuple]:
        cross, left, loadings, guess, more = carry
        leading = _leading(cross, guess + 1e-3 * start)
        w = product(cross, leading.vector)
        w = w / jnp.where(leading.value > 0, leading.value, 1)
        r = w - product(left, product(loadings.T, w))
        spread = product(cov_xx, r)
        variance = product(r, spread)
        share = variance / jnp.maximum(product(w, product(cov_xx, w)), tiny)
        exists = more & (leading.value > level * first) & (share > level)
        safe = jnp.where(exists, variance, 1)
        p, q = (jnp.where(exists, z / safe, 0) for z in (spread, product(cross.T, r)))
        cross = cross - jnp.where(exists, variance, 0) * jnp.outer(p, q)
        left = left + jnp.outer(jnp.where(exists, r, 0), place)
        loadings = loadings + jnp.outer(p, place)
        carry = cross, left, loadings, leading.second, exists
        return carry, (q, variance, exists, leading.converged)

    carry = cov_xy, left, loadings, start, jnp.ones((), bool)
    places = jnp.eye(count, dtype=cov_xx.dtype)
    (_, left, *_), (right, *per_component) = jax.lax.scan(component, carry, places)
    return _Components(left, right.T, *per_component)


class _Leading(NamedTuple):
    """Leading right singular vector [dy], the next one, the value, whether found."""

    vector: Array
    second: Array
    value: Array
    converged: Array


def _leading(matrix: Array, guess: Array) -> _Leading:
    """Lanczos on A'A by Rayleigh-Ritz on small Krylov spaces, restarted."""
    transpose = matrix.T
    size = min(_KRYLOV, matrix.shape[1])

    def sweep(state: tuple) -> tuple:
        vector, _, _, _, number = state

        def extend(carry: tuple, place: Array) -> tuple[tuple, None]:
            basis, images, v = carry
            for _ in range(2):
                v = v - product(basis, product(basis.T, v))
            norm = jnp.linalg.norm(v)
            v = v / jnp.where(norm > 0, norm, 1)
            image = product(matrix, v)
            basis, images = (
                basis + jnp.outer(v, place),
                images + jnp.outer(image, place),
            )
            return (basis, images, product(transpose, image)), None

        empty = [jnp.zeros((d, size), matrix.dtype) for d in matrix.shape[::-1]]
        places = jnp.eye(size, dtype=matrix.dtype)
        (basis, images, _), _ = jax.lax.scan(extend, (*empty, vector), places)
        values, ritz = jnp.linalg.eigh(product(images.T, images))
        vector, second = product(basis, ritz[:, -1]), product(basis, ritz[:, -2 % size])
        image = product(images, ritz[:, -1])
        residual = jnp.linalg.norm(product(transpose, image) - values[-1] * vector)
        return vector, second, values[-1], residual, number + 1

    def unfinished(state: tuple) -> Array:
        _, _, value, residual, number = state
        return (residual > _TOLERANCE * value) & (number < _SWEEPS)

    zero = jnp.zeros((), matrix.dtype)
    state = sweep((guess, guess, zero, zero, zero))
    vector, second, value, residual, _ = jax.lax.while_loop(unfinished, sweep, state)
    norm = jnp.sqrt(jnp.maximum(value, 0))
    return _Leading(vector, second, norm, residual <= 1e-6 * value)
