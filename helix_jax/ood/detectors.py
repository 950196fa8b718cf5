"""All out-of-distribution detectors of one classifier, by name, fitted together.

They are fitted on the states that the classifier was trained on, and score any states
in that space: the target's own, or the source's mapped to it.

| name                 | needs             | file           |
|----------------------|-------------------|----------------|
| energy               | logits            | energy.py      |
| msp                  | logits            | logits.py      |
| max_logit            | logits            | logits.py      |
| entropy              | logits            | logits.py      |
| mahalanobis          | states, labels    | mahalanobis.py |
| relative_mahalanobis | states, labels    | mahalanobis.py |
| knn                  | states            | neighbours.py  |
| cosine               | states, labels    | classes.py     |
| vim                  | states and logits | vim.py         |
| one_class            | states            | one_class.py   |
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from helix_jax import kinds
from helix_jax.arguments import takes
from helix_jax.ood.classes import ClassMeans, cosine_score, fit_class_means
from helix_jax.ood.energy import energy_score
from helix_jax.ood.logits import entropy_score, max_logit_score, max_softmax_score
from helix_jax.ood.mahalanobis import (
    Mahalanobis,
    fit_mahalanobis,
    mahalanobis_score,
    relative_mahalanobis_score,
)
from helix_jax.ood.neighbours import NeighbourBank, fit_neighbours, neighbour_score
from helix_jax.ood.one_class import OneClass, fit_one_class, one_class_score
from helix_jax.ood.vim import Vim, fit_vim, vim_score
from helix_jax.probes import Probe, predict_logits
from helix_jax.types import Array


class FittedDetectors(NamedTuple):
    """The detectors fitted to the in-distribution rows."""

    probe: Probe
    mahalanobis: Mahalanobis
    neighbours: NeighbourBank
    classes: ClassMeans
    vim: Vim
    one_class: OneClass


@takes(probe=kinds.PROBE, x=kinds.ARRAY)
def fit_detectors(
    probe: Probe, x: Array, labels: Array, *, k: int | None = None
) -> FittedDetectors:
    """Fit every detector on the rows that a classifier was trained on.

    Args:
      probe: Probe of width D with C classes.
      x: [N, D] float, states of the fit split.
      labels: [N] int.
      k: which neighbour knn uses; None is 50, or a tenth of the rows if that is fewer.

    Returns:
      FittedDetectors.

    Raises:
      ValueError: NaN, another width, one class only, or labels out of range.
    """
    classes = probe.bias.shape[0]
    k = max(1, min(50, x.shape[0] // 10)) if k is None else k
    mahalanobis = fit_mahalanobis(x, labels, num_classes=classes)
    rows = np.asarray(x, np.float64)
    return FittedDetectors(
        probe,
        mahalanobis,
        fit_neighbours(x, k=k),
        fit_class_means(x, labels, num_classes=classes),
        fit_vim(probe, x),
        fit_one_class(rows.mean(0), np.cov(rows.T, bias=True)),
    )


def _of_logits(score: Callable) -> Callable[[FittedDetectors, Any], Array]:
    return lambda fitted, x: score(predict_logits(fitted.probe, x))


DETECTORS: Mapping[str, Callable[[FittedDetectors, Any], Array]] = {
    "energy": _of_logits(energy_score),
    "msp": _of_logits(max_softmax_score),
    "max_logit": _of_logits(max_logit_score),
    "entropy": _of_logits(entropy_score),
    "mahalanobis": lambda fitted, x: mahalanobis_score(fitted.mahalanobis, x),
    "relative_mahalanobis": lambda fitted, x: relative_mahalanobis_score(
        fitted.mahalanobis, x
    ),
    "knn": lambda fitted, x: neighbour_score(fitted.neighbours, x),
    "cosine": lambda fitted, x: cosine_score(fitted.classes, x),
    "vim": lambda fitted, x: vim_score(fitted.vim, x),
    "one_class": lambda fitted, x: one_class_score(fitted.one_class, x),
}
"""name -> score [N] of states x [N, D]; higher is further out of distribution."""
