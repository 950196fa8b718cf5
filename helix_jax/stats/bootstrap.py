"""Percentile intervals from resampling whole documents.

Rows of one document are not independent; documents are. A resample draws as many
documents as there are, with replacement, and each counts as often as it was drawn:
every bootstrap of this project goes through `bootstrap_counts`. Any statistic of
sums over rows (a mean, an F1 from a confusion matrix) needs only the sums of each
document, so that all resamples are one product, counts [R, G] times sums [G, K].
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
from helix_jax.stats.interval import Interval
from helix_jax.types import Array

_RESAMPLES_AT_ONCE = 64


def mean_of_sums(sums: Array) -> Array:
    """The mean, from (sum of values, number of rows)."""
    return sums[0] / sums[1]


@takes(key=kinds.KEY)
def bootstrap_interval(
    values: Array,
    documents: Sequence[str] | Array,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    key: Array | None = None,
) -> Interval:
    """Interval of the mean of some values over rows, such as right or wrong.

    Args:
      values: [N] float, int or bool.
      documents: [N] document of each row: `document_of(id)`, or any codes.
      resamples: R.
      level: share of resamples inside the interval.
      key: jax.random key; None is jax.random.key(0).

    Returns:
      Interval of the mean, floats.

    Raises:
      ValueError: rows differ, NaN, or fewer than two documents.
    """
    values = _numbers("bootstrap_interval", "values", values, 1)
    rows = np.stack([values, np.ones_like(values)], axis=1)
    return bootstrap_statistic(
        rows, documents, mean_of_sums, resamples=resamples, level=level, key=key
    )


def paired_interval(
    values: Array, others: Array, documents: Sequence[str] | Array, **settings: Any
) -> Interval:
    """Interval of mean(values) - mean(others) on the same rows.

    The two are resampled together, so that what makes a document hard for both cancels.

    Args:
      values: [N], such as whether one classifier is right.
      others: [N], whether another one is.
      documents: [N].
      **settings: of `bootstrap_interval`.

    Returns:
      Interval of the difference, floats; the two differ at this level if 0 is outside.

    Raises:
      ValueError: as `bootstrap_interval`.
    """
    values, others = (
        _numbers("paired_interval", name, z, 1)
        for name, z in (("values", values), ("others", others))
    )
    if values.shape != others.shape:
        raise ValueError(
            "paired_interval: both need the same rows, got "
            f"{list(values.shape)} and {list(others.shape)}."
        )
    return bootstrap_interval(values - others, documents, **settings)


@takes(key=kinds.KEY)
@wide
def bootstrap_statistic(
    rows: Array,
    documents: Sequence[str] | Array,
    statistic: Callable[[Array], Array],
    *,
    resamples: int = 2000,
    level: float = 0.95,
    key: Array | None = None,
) -> Interval:
    """Interval of any function of sums over rows.

    Args:
      rows: [N, K] float, what is summed.
      documents: [N] document of each row.
      statistic: pure function from the sums [K] to a number, or to an array [...] of
        several, of module level so that its compilation is reused; `mean_of_sums` is
        one.
      resamples: R.
      level: share of resamples inside the interval.
      key: jax.random key; None is jax.random.key(0).

    Returns:
      Interval of floats, or of arrays [...]; resamples whose statistic is NaN are left
      out.

    Raises:
      ValueError: rows differ, NaN, fewer than two documents, or a level outside (0, 1).

    Reference: Efron and Tibshirani 1993, "An introduction to the bootstrap", section
      13.3 (percentile interval); documents as the units: Davison and Hinkley 1997,
      section 3.8.
    """
    who = "bootstrap_statistic"
    rows = _numbers(who, "rows", rows, 2)
    checks.require_finite(who, "rows", rows)
    require_resamples(who, resamples, level)
    codes, count = document_codes(who, documents, len(rows))
    if count < 2:
        raise ValueError(
            f"{who}: needs rows of two documents or more, got {count}. "
            "Check the ids, or the split."
        )
    sums = np.stack([np.bincount(codes, column, count) for column in rows.T], 1)
    sums = jnp.asarray(sums, wide_dtype())
    (interval,) = bootstrap_counts(
        lambda counts: [_of_counts(counts, sums, statistic)],
        [count],
        chance=jax.random.key(0) if key is None else key,
        resamples=resamples,
        level=level,
        at_once=_RESAMPLES_AT_ONCE,
    )
    return interval


def _numbers(who: str, name: str, values: Array, rank: int) -> np.ndarray:
    return np.asarray(numeric.numbers(who, name, values, rank=rank), np.float64)


@functools.partial(jax.jit, static_argnames="statistic")
def _of_counts(
    counts: Array, sums: Array, statistic: Callable[[Array], Array]
) -> Array:
    return jax.vmap(statistic)(product(counts.astype(sums.dtype), sums))


def bootstrap_counts(
    statistics: Callable[..., Sequence[Array]],
    documents: Sequence[int],
    *,
    chance: np.random.Generator | Array,
    resamples: int,
    level: float = 0.95,
    at_once: int | None = None,
) -> list[Interval]:
    """Intervals of any statistics of how often each document counts.

    Args:
      statistics: function of counts [R, G_1], [R, G_2], ..., one array for each group
        of documents, that gives K arrays [R, ...].
      documents: G_1, G_2, ...; each group is resampled by itself.
      chance: generator of the draws; or, for one group, a jax.random key: the draws of
        a resample then depend only on the key and the number of the resample.
      resamples: R.
      level: share of resamples inside the intervals.
      at_once: resamples in one call of `statistics`; None is all.

    Returns:
      K Intervals of floats, or of arrays [...]: the statistic where each document
      counts once, and percentiles of the resamples, those that are NaN left out.

    Raises:
      ValueError: a level outside (0, 1), or no resamples.

    Reference: as `bootstrap_statistic`.
    """
    require_resamples("bootstrap_counts", resamples, level)
    values = statistics(*(np.ones((1, count), np.int64) for count in documents))
    draw = _drawing(chance, resamples)
    at_once = min(at_once or resamples, resamples)
    chunks = [
        statistics(*draw(documents, start, min(start + at_once, resamples)))
        for start in range(0, resamples, at_once)
    ]
    return [
        _interval(np.asarray(value[0]), np.concatenate(resampled), level)
        for value, *resampled in zip(values, *chunks)
    ]


def require_resamples(who: str, resamples: int, level: float) -> None:
    """Raise ValueError for a level outside (0, 1), or no resamples."""
    if not 0 < level < 1 or resamples < 1:
        raise ValueError(
            f"{who}: level needs to be in (0, 1) and resamples 1 or more, got {level} "
            f"and {resamples}."
        )


def _drawing(chance: np.random.Generator | Array, resamples: int) -> Callable:
    """(documents, first, last) -> counts [last - first, G] of each group."""
    if isinstance(chance, np.random.Generator):
        return lambda documents, first, last: [
            _count(chance.integers(count, size=(last - first, count)))
            for count in documents
        ]
    keys = jax.random.split(chance, resamples)
    return lambda documents, first, last: [
        _key_counts(keys[first:last], count) for count in documents
    ]


def _count(drawn: np.ndarray) -> np.ndarray:
    """[R, G] int64 how often each of G numbers occurs in each row of [R, G]."""
    resamples, count = drawn.shape
    flat = (drawn + count * np.arange(resamples)[:, None]).reshape(-1)
    return np.bincount(flat, minlength=drawn.size).reshape(drawn.shape)


@functools.partial(jax.jit, static_argnames="count")
def _key_counts(keys: Array, count: int) -> Array:
    def counts(key: Array) -> Array:
        drawn = jax.random.randint(key, (count,), 0, count)
        return jnp.zeros(count, wide_dtype()).at[drawn].add(1)

    return jax.vmap(counts)(keys)


def _interval(value: np.ndarray, resampled: np.ndarray, level: float) -> Interval:
    """A value [...], with percentiles of [R, ...]; floats where it is one number."""
    columns = resampled.reshape(len(resampled), -1).T
    tails = (1 - level) / 2, (1 + level) / 2
    ends = [_quantiles(column[~np.isnan(column)], tails) for column in columns]
    low, high = np.transpose(ends).reshape(2, *value.shape)
    return Interval(*(end if end.ndim else float(end) for end in (value, low, high)))


def _quantiles(values: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    return np.quantile(values, shares) if len(values) else np.full(len(shares), np.nan)
