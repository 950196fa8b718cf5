"""Out-of-distribution detectors, fitted on the target's states, applied to mapped ones.

| arm      | states of in-distribution and out-of-distribution texts            |
|----------|--------------------------------------------------------------------|
| native   | the target's own                                                   |
| NAME     | the source's, by each map                                          |
| refitted | those of the map `mapped`, detectors fitted on mapped states too   |
| source   | the source's own, with its own probe and detectors                 |
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from helix_jax.alignment import StateMap, apply_map
from helix_jax.ood import (
    DETECTORS,
    FittedDetectors,
    detection_intervals,
    fit_detectors,
    roc_points,
)
from helix_jax.progress import bar
from helix_jax.stats import Interval
from helix_jax.transfer.task import Task


class Detection(NamedTuple):
    """How well a detector separates out-of-distribution texts, in one arm.

    Attributes:
      metrics: name in `DetectionMetrics` -> its interval over documents of both.
      curve: [P, 2] points of the ROC curve, the shares of in-distribution and of
        out-of-distribution texts that are flagged.
    """

    metrics: dict[str, Interval]
    curve: np.ndarray


def detect(
    task: Task,
    maps: Mapping[str, StateMap],
    strange: tuple[np.ndarray, np.ndarray],
    documents: Sequence[str],
) -> dict[str, dict[str, Detection]]:
    """Every detector in every arm.

    Args:
      task: its test split is in-distribution; detectors are fitted on its fit split.
      maps: arm -> map from the source's states to the target's.
      strange: source states [M, dx] and target states [M, dy] of out-of-distribution
        texts.
      documents: [M] of these.

    Returns:
      arm -> name in DETECTORS -> Detection.

    Raises:
      ValueError: as `fit_detectors` and `detection_intervals`.
    """
    arms = read_arms(task, maps, strange)
    total = len(maps) + 2 + ("mapped" in maps)
    scores: dict[str, dict[str, Detection]] = {}
    for arm, fitted, *sides in bar(arms, "arms scored", total=total):
        scores[arm] = {}
        for detector, score in DETECTORS.items():
            known, far = (np.asarray(score(fitted, states)) for states in sides)
            metrics = detection_intervals(
                known, far, task.documents, documents, resamples=task.resamples
            )
            curve = roc_points(known, far, most=200)
            scores[arm][detector] = Detection(metrics, curve)
    return scores


def read_arms(
    task: Task, maps: Mapping[str, StateMap], strange: tuple[np.ndarray, np.ndarray]
) -> Iterator[tuple[str, FittedDetectors, Any, Any]]:
    """Name, detectors, in-distribution and out-of-distribution states, of each arm."""
    labels = task.labels["fit"]
    fitted = fit_detectors(task.target_probe, task.y["fit"], labels)
    yield "native", fitted, task.y["test"], strange[1]
    for name, affine in maps.items():
        mapped = [apply_map(affine, z) for z in (task.x["test"], strange[0])]
        yield name, fitted, *mapped
        if name == "mapped":
            states = apply_map(affine, task.x["fit"])
            yield "refitted", fit_detectors(task.target_probe, states, labels), *mapped
    fitted = fit_detectors(task.source_probe, task.x["fit"], labels)
    yield "source", fitted, task.x["test"], strange[0]
