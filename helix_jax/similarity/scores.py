"""Scores of many pairs by many measures, with all that intervals and p-values need.

    rows = score_rows(test, pairs, measures, kept, ...)       # all pairs together
    each = [score_fitted(views[a], views[b], ...) for a, b in pairs]
    scores = join_scores(rows, stack_scores(each))
    {name: summarise(scores, name, documents) for name in scores.value}

Measures of the same rows (CKA, RSA, nearest neighbours) share their matrices, so all
pairs are scored at once; measures that are fitted on other rows, and what a probe reads
from mapped states, are scored pair by pair.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from helix_jax.alignment.maps import apply_map
from helix_jax.probes import predict_logits, train_probe
from helix_jax.similarity.functional import row_agreement, row_divergence
from helix_jax.similarity.held_out import (
    HELD_OUT_MEASURES,
    FittedPair,
    fit_pair,
    pair_nulls,
    row_cosines,
    score_pair,
    score_pair_jitted,
)
from helix_jax.similarity.matrix import (
    ROW_MEASURES,
    Pairs,
    similarity_matrix,
    similarity_nulls,
)
from helix_jax.similarity.nulls import rows_null
from helix_jax.stats import document_groups
from helix_jax.types import Array

HEAD_MEASURES = {"agreement": row_agreement, "divergence": row_divergence}
MEASURES = (*ROW_MEASURES, *HELD_OUT_MEASURES, *HEAD_MEASURES)


class SplitRows(NamedTuple):
    """States, or labels, of each split: [N, D] or [N]; N differs between splits."""

    fit: Array
    select: Array
    test: Array


class Shuffles(NamedTuple):
    """How the null of a score is drawn, see `similarity_nulls` and `pair_nulls`.

    Attributes:
      permutations: P.
      key: jax.random key; None is jax.random.key(0).
      product_dtype: of the products; None is float64 where the backend has it.
    """

    permutations: int
    key: Array | None = None
    product_dtype: Any = None


THOUSAND = Shuffles(1000)


class Scores(NamedTuple):
    """numpy arrays by measure; of several pairs, with the pairs along the last axis.

    Attributes:
      value: [] or [pairs].
      left_out: [G] or [G, pairs] without each group of documents.
      null: [P] or [P, pairs] of shuffled pairs.
      by_row: [N] or [N, pairs] where the score is a mean over rows.
    """

    value: dict[str, Array]
    left_out: dict[str, Array]
    null: dict[str, Array]
    by_row: dict[str, Array]


def left_out_rows(
    documents: Sequence[str], *, groups: int = 20, key: Array | None = None
) -> list[np.ndarray]:
    """Rows without each of some groups of documents.

    Args:
      documents: [N] document of each row.
      groups: G; fewer where there are fewer documents.
      key: jax.random key; None is jax.random.key(0).

    Returns:
      G arrays of rows, in order, all of one length so that nothing is compiled twice.

    Raises:
      ValueError: fewer than two documents.
    """
    groups = min(groups, len(set(documents)))
    group = document_groups(documents, groups=groups, key=key)
    least = min(int((group != g).sum()) for g in range(groups))
    return [np.flatnonzero(group != g)[:least] for g in range(groups)]


def score_rows(
    representations: Sequence[Array],
    pairs: Pairs,
    measures: Sequence[str],
    kept: Sequence[np.ndarray],
    *,
    neighbours: int = 10,
    shuffles: Shuffles = THOUSAND,
) -> Scores:
    """All pairs by measures of the same rows.

    Args:
      representations: M arrays [N, d_m] float.
      pairs: (a, b) places in `representations`.
      measures: names among ROW_MEASURES.
      kept: of `left_out_rows`.
      neighbours: of mutual_knn and cknna.
      shuffles: of the null.

    Returns:
      Scores of [pairs].

    Raises:
      ValueError: as `similarity_matrix`.
    """
    settings: dict[str, Any] = {
        "measures": measures,
        "pairs": pairs,
        "neighbours": neighbours,
        "product_dtype": shuffles.product_dtype,
    }
    value = similarity_matrix(representations, **settings)
    left_out = [
        similarity_matrix([x[rows] for x in representations], **settings)
        for rows in kept
    ]
    null = similarity_nulls(representations, **settings | shuffles._asdict())
    by_measure = {name: [scores[name] for scores in left_out] for name in measures}
    return _as_numpy(value, by_measure, null, {})


def score_fitted(
    x: SplitRows,
    y: SplitRows,
    measures: Sequence[str],
    kept: Sequence[np.ndarray],
    *,
    rank: int,
    labels: SplitRows | None = None,
    shuffles: Shuffles = THOUSAND,
) -> Scores:
    """One pair by measures that are fitted on the fit and select rows.

    Args:
      x: states of the first.
      y: states of the second, of the same rows.
      measures: names among HELD_OUT_MEASURES and HEAD_MEASURES.
      kept: of `left_out_rows`, for those whose score is not a mean over rows.
      rank: principal directions of each side for svcca, pwcca and procrustes.
      labels: int classes of the rows; needed by HEAD_MEASURES.
      shuffles: of the null.

    Returns:
      Scores of [].

    Raises:
      ValueError: as `fit_pair` and `score_pair`.
    """
    fit, select, test = zip(x, y)
    held_out = [name for name in measures if name in HELD_OUT_MEASURES]
    heads = [name for name in measures if name in HEAD_MEASURES]
    if heads and labels is None:
        raise ValueError(f"score_fitted: {', '.join(heads)} needs labels, got None.")
    fitted = fit_pair(fit, select, rank=rank)
    value: dict[str, Any] = {}
    left_out: dict[str, Any] = {}
    null: dict[str, Any] = {}
    by_row: dict[str, Any] = {}
    if held_out:
        every = score_pair(fitted, test)
        partial = [
            score_pair_jitted(fitted, tuple(z[rows] for z in test)) for rows in kept
        ]
        settings = {"measures": held_out, **shuffles._asdict()}
        null |= pair_nulls(fitted, fit, test, **settings)
        for name in held_out:
            value[name] = every[name]
            left_out[name] = [scores[name] for scores in partial]
    if "cosine" in held_out:
        by_row["cosine"] = row_cosines(fitted, test)
    if heads and labels is not None:
        logits = _head_logits(fitted, x.test, y, labels)
        for name in heads:
            by_row[name] = HEAD_MEASURES[name](*logits)
            null[name] = rows_null(
                HEAD_MEASURES[name],
                *logits,
                permutations=shuffles.permutations,
                key=shuffles.key,
            )
            value[name] = np.mean(np.asarray(by_row[name]))
    return _as_numpy(value, left_out, null, by_row)


def _as_numpy(*fields: dict[str, Any]) -> Scores:
    return Scores(
        *({name: np.asarray(part) for name, part in field.items()} for field in fields)
    )


def _head_logits(
    fitted: FittedPair, x_test: Array, y: SplitRows, labels: SplitRows
) -> tuple[Array, Array]:
    """[N, C] logits of y's probe on its own test states, and on x's mapped ones."""
    classes = 1 + max(int(np.max(split)) for split in labels)
    probe = train_probe(y.fit, labels.fit, y.select, labels.select, classes).probe
    mapped = apply_map(fitted.forward, x_test)
    return predict_logits(probe, y.test), predict_logits(probe, mapped)


def stack_scores(scores: Sequence[Scores]) -> Scores:
    """The scores of single pairs, with the pairs along a new last axis."""
    return Scores(
        *(
            {
                name: np.stack([pair[name] for pair in field], axis=-1)
                for name in field[0]
            }
            for field in zip(*scores)
        )
    )


def join_scores(*scores: Scores) -> Scores:
    """The scores of the same pairs by several lists of measures, in their order."""
    joined = Scores({}, {}, {}, {})
    for part in scores:
        for whole, field in zip(joined, part):
            whole.update(field)
    return joined
