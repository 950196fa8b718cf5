"""Linear classifiers on states: training, scores and intervals."""

from helix_jax.probes.bootstrap import Interval, bootstrap_interval
from helix_jax.probes.logistic import (
    ProbePath,
    ProbeSelection,
    fit_probes,
    select_probe,
    sklearn_c,
    train_probe,
)
from helix_jax.probes.metrics import accuracy, calibration_error, macro_f1
from helix_jax.probes.probe import Probe, load_probe, predict_logits, save_probe

__all__ = [
    "Interval",
    "Probe",
    "ProbePath",
    "ProbeSelection",
    "accuracy",
    "bootstrap_interval",
    "calibration_error",
    "fit_probes",
    "load_probe",
    "macro_f1",
    "predict_logits",
    "save_probe",
    "select_probe",
    "sklearn_c",
    "train_probe",
]
