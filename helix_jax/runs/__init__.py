"""The harness of programs: flags, work directories, metrics, reports."""

from typing import TYPE_CHECKING

from helix_jax.lazy import lazy_names

if TYPE_CHECKING:
    from helix_jax.runs.experiment import Experiment, Report, Specs, experiment
    from helix_jax.runs.flags import config_from_flags, define_flags, option
    from helix_jax.runs.prepare import prepare_config
    from helix_jax.runs.workdir import (
        Run,
        finish_run,
        flat_numbers,
        is_done,
        log_metrics,
        open_run,
        read_arrays,
        read_summary,
        truncate_metrics,
        write_arrays,
        write_atomically,
        write_metrics,
    )

__all__ = [
    "Experiment",
    "Report",
    "Run",
    "Specs",
    "config_from_flags",
    "define_flags",
    "experiment",
    "finish_run",
    "flat_numbers",
    "is_done",
    "log_metrics",
    "open_run",
    "option",
    "prepare_config",
    "read_arrays",
    "read_summary",
    "truncate_metrics",
    "write_arrays",
    "write_atomically",
    "write_metrics",
]
lazy_names(__name__)
