"""Out-of-distribution detectors and their metrics; a higher score is further out."""

from typing import TYPE_CHECKING

from helix_jax.lazy import lazy_names

if TYPE_CHECKING:
    from helix_jax.ood.classes import ClassMeans, cosine_score, fit_class_means
    from helix_jax.ood.detectors import DETECTORS, FittedDetectors, fit_detectors
    from helix_jax.ood.energy import energy_score
    from helix_jax.ood.intervals import auroc_standard_error, detection_intervals
    from helix_jax.ood.logits import entropy_score, max_logit_score, max_softmax_score
    from helix_jax.ood.mahalanobis import (
        Mahalanobis,
        fit_mahalanobis,
        mahalanobis_score,
        relative_mahalanobis_score,
    )
    from helix_jax.ood.metrics import (
        Counts,
        DetectionMetrics,
        count_scores,
        detection_metrics,
        metrics_of_counts,
        roc_points,
    )
    from helix_jax.ood.neighbours import NeighbourBank, fit_neighbours, neighbour_score
    from helix_jax.ood.one_class import OneClass, fit_one_class, one_class_score
    from helix_jax.ood.vim import Vim, fit_vim, vim_score

__all__ = [
    "DETECTORS",
    "ClassMeans",
    "Counts",
    "DetectionMetrics",
    "FittedDetectors",
    "Mahalanobis",
    "NeighbourBank",
    "OneClass",
    "Vim",
    "auroc_standard_error",
    "cosine_score",
    "count_scores",
    "detection_intervals",
    "detection_metrics",
    "energy_score",
    "entropy_score",
    "fit_class_means",
    "fit_detectors",
    "fit_mahalanobis",
    "fit_neighbours",
    "fit_one_class",
    "fit_vim",
    "mahalanobis_score",
    "max_logit_score",
    "max_softmax_score",
    "metrics_of_counts",
    "neighbour_score",
    "one_class_score",
    "relative_mahalanobis_score",
    "roc_points",
    "vim_score",
]
lazy_names(__name__)
