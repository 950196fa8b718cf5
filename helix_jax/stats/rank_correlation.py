"""Spearman's correlation of measures, resampling the objects that they share.

A measure of ordered pairs (i, j) of n models is not a sample of n (n - 1) independent
numbers: pairs that share a model are dependent. So models are resampled, not pairs; for
measures of texts, documents are.
"""

import dataclasses
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np
from scipy.stats import ConstantInputWarning, spearmanr

from helix_jax import checks, numeric
from helix_jax.stats.bootstrap import bootstrap_counts
from helix_jax.stats.documents import document_codes
from helix_jax.stats.interval import Interval
from helix_jax.types import Array


def pair_rank_correlation(
    x: Array,
    y: Array,
    pairs: Sequence[tuple[Hashable, Hashable]],
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Spearman's rank correlation of two measures of pairs, over resampled objects.

    Args:
      x, y: [P] float, two measures of each pair.
      pairs: [P] of (first, second), two different objects each, such as models; not
        every pair has to be there.
      resamples: R; a resample draws as many objects as there are, with replacement, and
        a pair's weight is the product of how often its two objects were drawn.
      level: share of resamples inside the interval.
      seed: of the draws.

    Returns:
      Interval of floats; resamples in which a measure does not vary are left out.

    Raises:
      ValueError: lengths differ, NaN, a pair of one object with itself, fewer than
        three objects, or a measure that does not vary.

    Reference: Spearman 1904; resampling the objects of a matrix of pairs: Davison and
      Hinkley 1997, section 3.8, and Snijders and Borgatti 1999, "Non-parametric
      standard errors and tests for network statistics", Connections 22(2).
    """
    who = "pair_rank_correlation"
    objects = _objects_of_pairs(who, pairs)
    found = _correlations(who, {"x": x}, y, objects, resamples, level, seed)
    return found["x"]


def document_rank_correlations(
    measures: Mapping[str, Array],
    y: Array,
    documents: Sequence[str] | Array,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Spearman's rank correlation of measures of rows with another, over documents.

    Args:
      measures: name -> [N] float.
      y: [N] float, what they should predict.
      documents: [N] document of each row.
      resamples, level, seed: as for `pair_rank_correlation`, of documents.

    Returns:
      name -> Interval of floats, all on the same resamples.

    Raises:
      ValueError: lengths differ, NaN, fewer than three documents, or a measure that
        does not vary.
    """
    who = "document_rank_correlations"
    codes, count = document_codes(who, documents, len(documents))
    objects = _Objects(count, len(codes), lambda counts: counts[:, codes])
    return _correlations(who, measures, y, objects, resamples, level, seed)


def rank_correlations(
    measures: Mapping[str, Array],
    y: Array,
    pairs: Sequence[tuple[Hashable, Hashable]],
    *,
    against: str,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """`pair_rank_correlation` of several measures with one, and their differences.

    Args:
      measures: name -> [P].
      y: [P], what they should predict.
      pairs, resamples, level, seed: as for `pair_rank_correlation`.
      against: the measure that the others are compared with.

    Returns:
      Each measure's correlation with y; and NAME_over_AGAINST, how much larger it
      is than that of `against`, on the same resamples.

    Raises:
      ValueError: as `pair_rank_correlation`, or an unknown `against`.
    """
    who = "rank_correlations"
    objects = _objects_of_pairs(who, pairs)
    if against not in measures:
        raise ValueError(
            f"{who}: against must be one of {list(measures)}, got {against!r}."
        )
    return _correlations(who, measures, y, objects, resamples, level, seed, against)


@dataclasses.dataclass(frozen=True)
class _Objects:
    """The objects that are resampled, and the rows that they give weight to.

    Attributes:
      number: of objects.
      rows: number of rows.
      weigh: [R, number] int draws of objects -> [R, rows] int weights of the rows.
    """

    number: int
    rows: int
    weigh: Callable[[np.ndarray], np.ndarray]


def _objects_of_pairs(who: str, pairs: Sequence[tuple[Hashable, Hashable]]) -> _Objects:
    same = [pair for pair in pairs if pair[0] == pair[1]]
    if same:
        raise ValueError(f"{who}: a pair needs two different objects, got {same[0]}.")
    places = {name: i for i, name in enumerate(dict.fromkeys(sum(pairs, ())))}
    first, second = (
        np.array([places[pair[side]] for pair in pairs], int) for side in (0, 1)
    )

    def weigh(counts: np.ndarray) -> np.ndarray:
        return counts[:, first] * counts[:, second]

    return _Objects(len(places), len(pairs), weigh)


def _correlations(
    who: str,
    given: Mapping[str, Array],
    y: Array,
    objects: _Objects,
    resamples: int,
    level: float,
    seed: int,
    against: str | None = None,
) -> dict[str, Interval]:
    measures = {}
    for name, values in (*given.items(), ("y", y)):
        values = np.asarray(numeric.numbers(who, name, values, rank=1), np.float64)
        checks.require_finite(who, name, values)
        measures[name] = values
    for name, x in measures.items():
        if len(x) != objects.rows:
            raise ValueError(
                f"{who}: all measures need one entry per row, got {len(x)} of {name} "
                f"for {objects.rows} rows."
            )
    if objects.number < 3:
        raise ValueError(f"{who}: needs three objects or more, got {objects.number}.")
    for name, values in measures.items():
        if np.ptp(values) == 0:
            raise ValueError(f"{who}: {name} is the same for every row.")

    y = measures.pop("y")
    others = [name for name in measures if against and name != against]

    def correlations(counts: np.ndarray) -> list[np.ndarray]:
        weights = objects.weigh(counts)
        found = {
            name: np.array([_spearman(x, y, row) for row in weights])
            for name, x in measures.items()
        }
        gains = (found[name] - found[str(against)] for name in others)
        return [*found.values(), *gains]

    intervals = bootstrap_counts(
        correlations,
        [objects.number],
        chance=np.random.default_rng(seed),
        resamples=resamples,
        level=level,
    )
    names = [*measures, *(f"{name}_over_{against}" for name in others)]
    return dict(zip(names, intervals))


def _spearman(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> float:
    """Correlation of weighted rows; NaN where one of the two does not vary."""
    if counts.sum() < 2:
        return np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        return spearmanr(np.repeat(x, counts), np.repeat(y, counts)).statistic
