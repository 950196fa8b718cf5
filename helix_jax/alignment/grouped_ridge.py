"""Ridge to several groups of target columns, each with its own penalty, and scores.

For many targets, or many source columns, and few penalties: one Cholesky factorisation
for each penalty replaces the spectrum of `fit_ridge`, which for thousands of source
columns costs as much as twenty factorisations. The maps are the same.

    W_p = (cov_xx + r_p I)^-1 cov_xy,        r_p = penalty_p trace(cov_xx) / dx

and each group takes the columns of the penalty with the largest R2 on the select split.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax import kinds
from helix_jax.alignment.maps import AffineMap
from helix_jax.alignment.moments import Moments, usable_moments
from helix_jax.arguments import takes
from helix_jax.linalg import product, wide
from helix_jax.types import Array

PENALTIES = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)


class GroupedRidge(NamedTuple):
    """A map whose target columns come in G groups.

    Attributes:
      map: AffineMap of all columns.
      penalties: [G] relative penalty of each group.
      r2: [G] of each group on the select split, variance-weighted.
    """

    map: AffineMap
    penalties: np.ndarray
    r2: np.ndarray


@takes(fit=kinds.MOMENTS, select=kinds.MOMENTS)
@wide
def fit_grouped_ridge(
    fit: Moments,
    select: Moments,
    *,
    groups: int = 1,
    penalties: Sequence[float] = PENALTIES,
) -> GroupedRidge:
    """Ridge with the best of several penalties for each group of target columns.

    Args:
      fit: of the rows to fit on.
      select: of the rows that penalties are chosen on, the same widths.
      groups: G, the number of groups of equal width among the target columns.
      penalties: relative ones, positive.

    Returns:
      GroupedRidge.

    Raises:
      ValueError: fewer than 2 rows, NaN, other widths, a number of groups that does
        not divide the target's width, or a penalty that is not positive.

    Reference: Hastie, Tibshirani, Friedman 2009, equation 3.47; the choice: ours.
    """
    who = "fit_grouped_ridge"
    fit, select = usable_moments(who, fit), usable_moments(who, select)
    dx, dy = fit.cov_xy.shape
    if select.cov_xy.shape != (dx, dy) or dy % groups:
        raise ValueError(
            f"{who}: fit has widths {[dx, dy]} and select "
            f"{list(select.cov_xy.shape)}; they must be equal, and "
            f"{groups} groups must divide the second."
        )
    if not len(penalties) or min(penalties) <= 0:
        raise ValueError(
            f"{who}: penalties need one or more positive numbers, got {penalties}."
        )
    penalties = jnp.asarray(penalties, fit.cov_xy.dtype)
    kernel, bias, chosen, r2 = _best(fit, select, penalties, groups=groups)
    return GroupedRidge(AffineMap(kernel, bias), np.asarray(chosen), np.asarray(r2))


@wide
def fit_each_ridge(
    fit: Moments,
    select: Moments,
    sources: Array,
    targets: Array,
    *,
    penalties: Sequence[float] = PENALTIES,
) -> GroupedRidge:
    """Ridge to each group of target columns from source columns of its own.

    Args:
      fit, select: of all columns.
      sources: [G, n] int, the source columns of each group.
      targets: [G, m] int, its target columns.
      penalties: relative ones; each group takes its best.

    Returns:
      GroupedRidge, whose map has arrays [G, n, m] and [G, m].
    """
    penalties = jnp.asarray(penalties, jnp.result_type(float))
    kernel, bias, chosen, r2 = _each(fit, select, sources, targets, penalties)
    return GroupedRidge(AffineMap(kernel, bias), np.asarray(chosen), np.asarray(r2))


@jax.jit
def _each(
    fit: Moments, select: Moments, sources: Array, targets: Array, penalties: Array
) -> tuple[Array, Array, Array, Array]:
    def one(columns: tuple[Array, Array]) -> tuple[Array, Array, Array, Array]:
        own = [_columns(moments, *columns) for moments in (fit, select)]
        kernel, bias, chosen, r2 = _best(*own, penalties, groups=1)
        return kernel, bias, chosen[0], r2[0]

    return jax.lax.map(one, (sources, targets))


@wide
def score_sources(
    fit: Moments,
    select: Moments,
    sources: Array,
    target: Array,
    *,
    penalty: float = 1e-4,
) -> Array:
    """R2 on the select split of ridge from each of several choices of source columns.

    Args:
      fit, select: of all columns.
      sources: [C, n] int, C choices of n source columns.
      target: [m] int, the target columns.
      penalty: the relative one, for all.

    Returns:
      [C] float.
    """
    return _score_sources(fit, select, sources, target, penalty)


@jax.jit
def _score_sources(
    fit: Moments, select: Moments, sources: Array, target: Array, penalty: Array
) -> Array:
    def one(source: Array) -> Array:
        own = [_columns(moments, source, target) for moments in (fit, select)]
        return _scores(_solve(own[0], penalty), *own, groups=1)[0]

    return jax.lax.map(one, sources)


def _columns(moments: Moments, x: Array, y: Array) -> Moments:
    """Like `select_columns`, with cov_yy's diagonal only and no copies of all rows."""
    return Moments(
        moments.count,
        moments.mean_x[x],
        moments.mean_y[y],
        moments.cov_xx[x[:, None], x],
        moments.cov_xy[x[:, None], y],
        jnp.diag(moments.cov_yy[y, y]),
    )


@partial(jax.jit, static_argnames="groups")
def _best(
    fit: Moments, select: Moments, penalties: Array, *, groups: int
) -> tuple[Array, Array, Array, Array]:
    """Kernel and bias of the best penalty of each group; penalties and R2 [groups]."""
    dx, dy = fit.cov_xy.shape

    def attempt(
        best: tuple[Array, Array, Array], penalty: Array
    ) -> tuple[tuple[Array, Array, Array], None]:
        kernel, chosen, r2 = best
        found = _solve(fit, penalty)
        scores = _scores(found, fit, select, groups=groups)
        better = scores > r2  # not where it is NaN
        columns = jnp.repeat(better, dy // groups)
        kept = (
            jnp.where(columns, found, kernel),
            jnp.where(better, penalty, chosen),
            jnp.where(better, scores, r2),
        )
        return kept, None

    kind = fit.cov_xy.dtype
    none = jnp.zeros((dx, dy), kind), jnp.zeros(groups, kind)
    start = (*none, jnp.full(groups, -jnp.inf, kind))
    (kernel, chosen, r2), _ = jax.lax.scan(attempt, start, penalties)
    return kernel, fit.mean_y - product(fit.mean_x, kernel), chosen, r2


@jax.jit
def _solve(fit: Moments, penalty: Array) -> Array:
    dx = fit.cov_xx.shape[0]
    ridge = penalty * jnp.trace(fit.cov_xx) / dx
    factor = jax.scipy.linalg.cho_factor(fit.cov_xx + ridge * jnp.eye(dx))
    return jax.scipy.linalg.cho_solve(factor, fit.cov_xy)


@partial(jax.jit, static_argnames="groups")
def _scores(kernel: Array, fit: Moments, select: Moments, *, groups: int) -> Array:
    """R2 of each group of columns on the select split."""
    total = jnp.diagonal(select.cov_yy)
    linear = jnp.sum(kernel * select.cov_xy, axis=0)
    quadratic = jnp.sum(kernel * product(select.cov_xx, kernel), axis=0)
    offset = product(select.mean_x - fit.mean_x, kernel)
    offset = select.mean_y - fit.mean_y - offset
    lost = total - 2 * linear + quadratic + offset**2
    return 1 - lost.reshape(groups, -1).sum(1) / total.reshape(groups, -1).sum(1)
