"""Linear classifiers on hidden states: training, scores, intervals, artefacts."""

from typing import TYPE_CHECKING

from helix_jax.lazy import lazy_names

if TYPE_CHECKING:
    from helix_jax.probes.arms import ArmScores, arm_scores, right_rows
    from helix_jax.probes.logistic import (
        PENALTIES,
        ProbePath,
        ProbeSelection,
        fit_probes,
        select_probe,
        sklearn_c,
        train_probe,
    )
    from helix_jax.probes.metrics import (
        accuracy,
        calibration_error,
        confusion_matrix,
        f1_of_confusion,
        macro_f1,
        negative_log_likelihood,
    )
    from helix_jax.probes.probe import Probe, load_probe, predict_logits, save_probe
    from helix_jax.stats import (
        Interval,
        bootstrap_interval,
        bootstrap_statistic,
        mean_of_sums,
        paired_interval,
    )

__all__ = [
    "PENALTIES",
    "ArmScores",
    "Interval",
    "Probe",
    "ProbePath",
    "ProbeSelection",
    "accuracy",
    "arm_scores",
    "bootstrap_interval",
    "bootstrap_statistic",
    "calibration_error",
    "confusion_matrix",
    "f1_of_confusion",
    "fit_probes",
    "load_probe",
    "macro_f1",
    "mean_of_sums",
    "negative_log_likelihood",
    "paired_interval",
    "predict_logits",
    "right_rows",
    "save_probe",
    "select_probe",
    "sklearn_c",
    "train_probe",
]
lazy_names(__name__)
