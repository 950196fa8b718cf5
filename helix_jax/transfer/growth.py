"""Scores of maps fitted on growing samples, each containing the previous one."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import jax
import numpy as np

from helix_jax.alignment import (
    METHODS,
    Moments,
    StateMap,
    accumulate,
    derangement,
    deviations,
    fit_ridge,
    growing_moments,
    select_penalty,
    squared_errors,
    usable_methods,
)
from helix_jax.progress import bar
from helix_jax.stats import LearningCurve, learning_curve
from helix_jax.transfer.methods import Material, Rows
from helix_jax.transfer.task import Task

CONTROL = "control_shuffled"  # ridge on the same rows, paired wrongly


def growing_maps(
    rows: Mapping[str, Rows],
    select: Moments,
    order: np.ndarray,
    sizes: Sequence[int],
    *,
    methods: Sequence[str],
    anchors: int,
    epochs: int,
) -> Iterator[dict[str, StateMap]]:
    """Fit every method, and `CONTROL`, on the first rows of an order at each size.

    Moments of the rows between two sizes are merged into those of the smaller.

    Args:
      rows: of the fit and the select split.
      select: moments of the select split.
      order: [N] places in the fit split.
      sizes: ascending.
      methods: names; a closed form is left out at sizes that are too small for it.
      anchors: first rows that relative representations refer to, at most.
      epochs: of gradient fits.

    Yields:
      name -> map.
    """
    x, y = rows["fit"]
    key = jax.random.key(0)
    dealt = y[np.asarray(derangement(key, len(y)))]
    grown = zip(
        growing_moments(x, y, order=order, sizes=sizes),
        growing_moments(x, dealt, order=order, sizes=sizes),
    )
    for size, (moments, shuffled) in zip(sizes, grown):
        usable = usable_methods(size, x.shape[1], anchors=True)
        first = order[: min(anchors, size)]
        material = Material(
            {"fit": moments, "select": select},
            rows,
            [name for name in methods if name in usable or name not in METHODS],
            (x[first], y[first]),
            sample=order[:size],
        )
        maps = material.fit_maps(key=key, epochs=epochs)
        yield maps | {CONTROL: select_penalty(fit_ridge(shuffled), select).fit.map}


def score_growth(
    task: Task, grown: Iterable[Mapping[str, StateMap]], names: Sequence[str]
) -> dict[str, np.ndarray]:
    """The results of every map on every test text.

    Args:
      task: whose test split is scored.
      grown: name -> map, at each of S sizes.
      names: of maps.

    Returns:
      name -> [2, S, N]: the squared error of each test text, and whether the target's
      probe is right; NaN if there is no map.
    """
    x, y, labels = (z["test"] for z in (task.x, task.y, task.labels))
    unknown = np.full((2, len(labels)), np.nan)

    def score(affine: StateMap) -> np.ndarray:
        right = np.asarray(task.read_mapped(affine)).argmax(-1) == labels
        return np.stack([squared_errors(affine, x, y), right])

    scores = [{name: score(affine) for name, affine in maps.items()} for maps in grown]
    return {
        name: np.stack([at.get(name, unknown) for at in scores], axis=1)
        for name in names
    }


def growth_curves(
    task: Task,
    rows: Mapping[str, Rows],
    orders: Sequence[np.ndarray],
    sizes: Sequence[int],
    *,
    methods: Sequence[str],
    anchors: int,
    epochs: int,
    tolerance: float,
) -> dict[str, LearningCurve]:
    """Loss and accuracy of every method, and of `CONTROL`, against the rows.

    Args:
      task: whose test split is scored.
      rows: to fit and to select on.
      orders: of the fit rows; scores are means over them.
      sizes, methods, anchors, epochs: as for `growing_maps`.
      tolerance: of the plateau, as for `learning_curve`.

    Returns:
      name -> LearningCurve.
    """
    names, scores = (*methods, CONTROL), []
    select = accumulate([rows["select"]])
    for order in orders:
        grown = growing_maps(
            rows, select, order, sizes, methods=methods, anchors=anchors, epochs=epochs
        )
        grown = bar(grown, "sizes fitted and scored", total=len(sizes))
        scores.append(score_growth(task, grown, names))
    curves = {}
    for name in bar(names, "methods summarised"):
        error, right = np.mean([of_order[name] for of_order in scores], axis=0)
        curves[name] = learning_curve(
            error,
            right,
            deviations(task.y["test"]),
            task.documents,
            sizes,
            tolerance=tolerance,
            resamples=task.resamples,
        )
    return curves
