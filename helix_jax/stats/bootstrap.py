"""Percentile intervals from resampling whole documents.

Rows of one document are not independent; documents are. A resample draws as many
documents as there are, with replacement, and each counts as often as it was drawn. Any
statistic of sums over rows (a mean, an F1 from a confusion matrix) needs of each
document its sums only, so that all resamples are one product, counts [R, G] times sums
[G, K].
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax import checks, kinds, numeric
from helix_jax.arguments import takes
from helix_jax.linalg import product, wide, wide_dtype
from helix_jax.stats.documents import document_codes
from helix_jax.types import Array

_RESAMPLES_AT_ONCE = 64


class Interval(NamedTuple):
    """An estimate and its interval.

    Attributes:
      value: [] of all rows.
      low: [] lower end.
      high: [] upper end.
    """

    value: Array
    low: Array
    high: Array

    ENDS = ("", "_low", "_high")  # behind a name, where the three stand apart


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
      level: share of resamples inside.
      key: jax.random key; None is jax.random.key(0).

    Returns:
      Interval of the mean.

    Raises:
      ValueError: rows differ, NaN, or fewer than two documents.
    """
    values = _numbers("bootstrap_interval", "values", values, 1)
    rows = np.stack([values, np.ones_like(values)], axis=1)
    return bootstrap_statistic(
        rows, documents, mean_of_sums, resamples=resamples, level=level, key=key
    )


def paired_interval(
    values: Array, others: Array, documents: Sequence[str] | Array, **settings
) -> Interval:
    """Interval of mean(values) - mean(others) on the same rows.

    The two are resampled together, so that what makes a document hard for both cancels.

    Args:
      values: [N], such as whether one classifier is right.
      others: [N], whether another one is.
      documents: [N].
      **settings: of `bootstrap_interval`.

    Returns:
      Interval of the difference; the two differ at this level if 0 is outside.

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
      statistic: pure function from the sums [K] to a number, of module level so that
        its compilation is reused; `mean_of_sums` is one.
      resamples: R.
      level: share of resamples inside.
      key: jax.random key; None is jax.random.key(0).

    Returns:
      Interval.

    Raises:
      ValueError: rows differ, NaN, fewer than two documents, or a level outside (0, 1).

    Reference: Efron and Tibshirani 1993, "An introduction to the bootstrap", section
      13.3 (percentile interval); documents as the units: Davison and Hinkley 1997,
      section 3.8.
    """
    who = "bootstrap_statistic"
    rows = _numbers(who, "rows", rows, 2)
    checks.require_finite(who, "rows", rows)
    if not 0 < level < 1 or resamples < 1:
        raise ValueError(
            f"{who}: level needs to be in (0, 1) and resamples 1 or more, got {level} "
            f"and {resamples}."
        )
    codes, count = document_codes(who, documents, len(rows))
    if count < 2:
        raise ValueError(
            f"{who}: needs rows of two documents or more, got {count}. "
            "Check the ids, or the split."
        )
    sums = np.stack([np.bincount(codes, column, count) for column in rows.T], 1)
    key = jax.random.key(0) if key is None else key
    return _interval(
        jnp.asarray(sums, wide_dtype()), key, level, statistic, resamples=resamples
    )


def _numbers(who: str, name: str, values: Array, rank: int) -> np.ndarray:
    return np.asarray(numeric.numbers(who, name, values, rank=rank), np.float64)


@functools.partial(jax.jit, static_argnames=("statistic", "resamples"))
def _interval(
    sums: Array,
    key: Array,
    level: Array,
    statistic: Callable[[Array], Array],
    *,
    resamples: int,
) -> Interval:
    documents = sums.shape[0]

    def one(key: Array) -> Array:
        drawn = jax.random.randint(key, (documents,), 0, documents)
        counts = jnp.zeros(documents, sums.dtype).at[drawn].add(1)
        return statistic(product(counts, sums))

    keys = jax.random.split(key, resamples)
    found = jax.lax.map(one, keys, batch_size=min(_RESAMPLES_AT_ONCE, resamples))
    tail = (1 - level) / 2
    low, high = jnp.nanquantile(found, jnp.stack([tail, 1 - tail]))
    return Interval(statistic(jnp.sum(sums, axis=0)), low, high)
