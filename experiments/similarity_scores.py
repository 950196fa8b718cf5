"""Scores, nulls and intervals of every pair of views: the work of `similarity`."""

from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.shared.task import SPLITS
from helix_jax.activations import Store
from helix_jax.alignment import apply_map
from helix_jax.probes import predict_logits, train_probe
from helix_jax.progress import bar, stage
from helix_jax.similarity import calibrate, row_agreement, row_divergence, rows_null
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
    similarity_matrix,
    similarity_nulls,
)
from helix_jax.stats import (
    benjamini_hochberg,
    bootstrap_interval,
    document_groups,
    jackknife_interval,
)

HEADS = {"agreement": row_agreement, "divergence": row_divergence}
MEASURES = (*ROW_MEASURES, *HELD_OUT_MEASURES, *HEADS)
BEST = {"procrustes": 0.0, "divergence": 0.0}  # of all others 1
DISCOVERY = 0.05
PRODUCTS = {"product_dtype": "float32"}


class View(NamedTuple):
    """One layer of one model: split -> [N, D] float32."""

    name: str
    model: str
    rows: dict[str, np.ndarray]


class Scores(NamedTuple):
    """By measure, with pairs along the last axis.

    Attributes:
      value: [pairs].
      left_out: [groups, pairs] without each group of documents.
      null: [permutations, pairs].
      by_row: [N, pairs] where the score is a mean over rows.
    """

    value: dict[str, np.ndarray]
    left_out: dict[str, np.ndarray]
    null: dict[str, np.ndarray]
    by_row: dict[str, np.ndarray]


def score_all(
    views: list[View],
    pairs: list[tuple[int, int]],
    measures: Any,
    store: dict[str, Store],
    documents: list[str],
    *,
    rank: int,
    neighbours: int,
    permutations: int,
    seed: int,
) -> Scores:
    """Scores, scores without each group of documents, nulls.

    Args:
      views: every layer of every model.
      pairs: places in `views`.
      measures: names among MEASURES.
      store: split -> labels of the rows.
      documents: [N] document of each test row.
      rank: principal directions; 0 for a twentieth of the fit rows, at most 64.
      neighbours, permutations: of the measures and of the nulls.
      seed: of the shuffles and the groups of documents.
    """
    key = jax.random.key(seed)
    shuffles = {"permutations": permutations, "key": key}
    kept = left_out_rows(documents, key)
    of_rows = [name for name in measures if name in ROW_MEASURES]
    fitted_ones = [name for name in measures if name in HELD_OUT_MEASURES]
    heads = [name for name in measures if name in HEADS]
    scores = Scores({}, {}, {}, {})
    if of_rows:
        test = [view.rows["test"] for view in views]
        settings = {"measures": of_rows, "pairs": pairs, "neighbours": neighbours}
        settings |= PRODUCTS
        with stage("scoring every pair"):
            scores.value.update(similarity_matrix(test, **settings))
        left_out = [
            similarity_matrix([x[rows] for x in test], **settings)
            for rows in bar(kept, "groups of documents left out")
        ]
        scores.left_out.update(
            {name: np.stack([one[name] for one in left_out]) for name in of_rows}
        )
        with stage(f"{permutations} shuffles of every pair"):
            scores.null.update(similarity_nulls(test, **settings, **shuffles))
    if not (fitted_ones or heads):
        return scores
    found = []
    for a, b in bar(pairs, "pairs fitted and scored"):
        fit, select, held = (
            (views[a].rows[split], views[b].rows[split]) for split in SPLITS
        )
        limit = rank or max(1, min(64, len(fit[0]) // 20))
        fitted = fit_pair(fit, select, rank=limit)
        one = _held_out(fitted, fit, held, kept, fitted_ones, shuffles)
        if heads:
            logits = _read(fitted, views[a], views[b], store)
            for name in heads:
                one.by_row[name] = HEADS[name](*logits)
                one.null[name] = rows_null(HEADS[name], *logits, **shuffles)
        found.append(one)
    for whole, parts in zip(scores, zip(*found)):
        for name in parts[0]:
            whole[name] = np.stack([part[name] for part in parts], axis=-1)
    for name, rows in scores.by_row.items():
        scores.value[name] = rows.mean(axis=0)
    return scores


def left_out_rows(documents: list[str], key: Any) -> list[np.ndarray]:
    """Rows without each of 20 groups of documents.

    As many each time, so that nothing is compiled twice.
    """
    groups = min(20, len(set(documents)))
    group = document_groups(documents, groups=groups, key=key)
    least = min(int((group != g).sum()) for g in range(groups))
    return [np.flatnonzero(group != g)[:least] for g in range(groups)]


def _held_out(
    fitted: FittedPair, fit: Any, test: Any, kept: Any, measures: Any, shuffles: Any
) -> Scores:
    """One pair by measures that are fitted on other rows."""
    if not measures:
        return Scores({}, {}, {}, {})
    value = score_pair(fitted, test)
    left_out = [
        score_pair_jitted(fitted, tuple(z[rows] for z in test)) for rows in kept
    ]
    by_row = {"cosine": row_cosines(fitted, test)} if "cosine" in measures else {}
    return Scores(
        {name: value[name] for name in measures},
        {name: np.stack([one[name] for one in left_out]) for name in measures},
        pair_nulls(fitted, fit, test, measures=measures, **PRODUCTS, **shuffles),
        by_row,
    )


def _read(fitted: FittedPair, x: View, y: View, store: dict[str, Store]) -> Any:
    """Logits of y's probe on its own test states, and on x's mapped ones."""
    labels = {split: store[split].labels for split in SPLITS}
    classes = 1 + max(int(own.max()) for own in labels.values())
    probe = train_probe(
        y.rows["fit"], labels["fit"], y.rows["select"], labels["select"], classes
    ).probe
    mapped = apply_map(fitted.forward, x.rows["test"])
    return tuple(predict_logits(probe, states) for states in (y.rows["test"], mapped))


def summarise(
    scores: Scores, names: list[str], documents: list[str]
) -> dict[str, float]:
    """Every pair's numbers, and the means over pairs with intervals."""
    summary: dict[str, float] = {"similarity/pairs": len(names)}
    for measure, value in bar(scores.value.items(), "measures summarised"):
        value = np.asarray(value)
        placed = jax.tree.map(
            np.asarray,
            calibrate(value, scores.null[measure], best=BEST.get(measure, 1.0)),
        )
        q = np.asarray(benjamini_hochberg(placed.p))
        mean = np.mean(value)
        if measure in scores.by_row:
            rows = np.asarray(scores.by_row[measure])
            interval = bootstrap_interval(rows.mean(axis=1), documents)
            each = [bootstrap_interval(one, documents) for one in rows.T]
            low, high = ([float(one[end]) for one in each] for end in (1, 2))
        else:
            left_out = np.asarray(scores.left_out[measure])
            interval = jackknife_interval(mean, left_out.mean(axis=1))
            _, low, high = jackknife_interval(value, left_out)
        start = f"similarity/{measure}_mean"
        summary[start] = float(mean)
        summary |= {
            f"{start}_{end}": float(getattr(interval, end)) for end in ("low", "high")
        }
        summary[f"similarity/{measure}_shuffled"] = float(placed.null_mean.mean())
        summary[f"similarity/{measure}_calibrated"] = float(placed.calibrated.mean())
        summary[f"similarity/{measure}_discoveries"] = int((q <= DISCOVERY).sum())
        columns = {
            "": value,
            "_low": low,
            "_high": high,
            "_shuffled": placed.null_mean,
            "_calibrated": placed.calibrated,
            "_z": placed.z,
            "_p": placed.p,
            "_q": q,
        }
        for ending, numbers in columns.items():
            for name, number in zip(names, np.asarray(numbers)):
                summary[f"similarity/{name}/{measure}{ending}"] = float(number)
    return summary
