"""Metrics of runs in TensorBoard, Weights & Biases or MLflow, besides metrics.jsonl.

    python -m experiments.pretrain ... --tensorboard --tracker=wandb

A client gets new lines of metrics.jsonl and, at the end, the summary, so that a run
that is killed and resumed shows each step once. Each client's own settings say where it
sends them: WANDB_MODE=offline, MLFLOW_TRACKING_URI=sqlite:///FILE. TensorBoard files
are in WORKDIR/tensorboard. A program that runs other programs gives each of them its
own run.
"""

import functools
import importlib.util
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from absl import flags

from helix_jax.errors import RunError
from helix_jax.fingerprint import fingerprint
from helix_jax.runs.flags import Section

METRICS = "metrics.jsonl"
_EXTRAS = {"tensorboard": "tensorboardX", "wandb": "wandb", "mlflow": "mlflow"}
_chosen: list[str] = []  # clients of this process, from its flags

Numbers = Mapping[str, float]


def define_tracking_flags(known: flags.FlagValues, *, program: str) -> None:
    """The flags --tensorboard and --tracker."""
    place = Section(flag_values=known, module_name=program)
    flags.DEFINE_bool(
        "tensorboard", False, "write metrics to WORKDIR/tensorboard too", **place
    )
    flags.DEFINE_enum(
        "tracker", "", ["", "wandb", "mlflow"], "client that also gets metrics", **place
    )


def choose_trackers(known: flags.FlagValues) -> None:
    """Track the runs that this process opens from now on, as the flags say.

    Raises:
      RunError: a client is not installed.
    """
    asked = ["tensorboard"] if known["tensorboard"].value else []
    asked += [known["tracker"].value] if known["tracker"].value else []
    for name in asked:
        if importlib.util.find_spec(_EXTRAS[name]) is None:
            flag = "--tensorboard" if name == "tensorboard" else f"--tracker={name}"
            raise RunError(
                f"{flag} needs {_EXTRAS[name]}: pip install 'helix_jax[{name}]'."
            )
    _chosen[:] = asked


class Client(Protocol):
    """A tracker of the metrics of one run."""

    def restart(self) -> None:
        """Prepare for steps sent again from the first; known ones may be dropped."""

    def log(self, step: int, numbers: Numbers) -> None:
        """Take the numbers of a step."""

    def finish(self, step: int, summary: Numbers) -> None:
        """Take the summary, which belongs to the last step, and close."""


class Tracker:
    """Sends new lines of a work directory's metrics.jsonl to a client."""

    def __init__(self, folder: Path, open_client: Callable[[], Client]):
        """The client is opened with the first numbers."""
        self._path = folder / METRICS
        self._client = functools.cache(open_client)
        self._offset, self._step = 0, 0

    def follow(self) -> None:
        """Send new lines; everything again if the file was truncated."""
        for step, numbers in self._new_lines():
            self._client().log(step, numbers)
            self._step = step

    def finish(self, summary: Mapping[str, float | None]) -> None:
        """Send the summary, and close."""
        self.follow()
        self._client().finish(self._step, _known(summary))

    def _new_lines(self) -> Iterator[tuple[int, Numbers]]:
        size = self._path.stat().st_size if self._path.exists() else 0
        if size < self._offset:
            self._client().restart()
            self._offset = 0
        if size > self._offset:
            with self._path.open("rb") as stream:
                stream.seek(self._offset)
                new = stream.read(size - self._offset)
            self._offset = size
            for line in new.splitlines():
                numbers = json.loads(line)
                yield numbers.pop("step"), _known(numbers)


def open_trackers(folder: Path, config: Mapping[str, Any]) -> tuple[Tracker, ...]:
    """The chosen trackers of a work directory.

    Args:
      folder: the work directory.
      config: its flags.
    """
    return tuple(
        Tracker(folder, functools.partial(_CLIENTS[name], folder, config))
        for name in _chosen
    )


class TensorBoard:
    """Event files in WORKDIR/tensorboard, through tensorboardX."""

    def __init__(self, folder: Path, config: Mapping[str, Any]):
        self._folder, self._config = folder / "tensorboard", config
        self.restart()

    def restart(self) -> None:
        import tensorboardX

        shutil.rmtree(self._folder, ignore_errors=True)
        self._writer = tensorboardX.SummaryWriter(str(self._folder), flush_secs=10)
        shown = json.dumps(self._config, indent=2)
        self._writer.add_text("config", f"```\n{shown}\n```")

    def log(self, step: int, numbers: Numbers) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def finish(self, step: int, summary: Numbers) -> None:
        for name, value in summary.items():
            self._writer.add_scalar(f"summary/{name}", value, step)
        self._writer.close()


class WandB:
    """A run of Weights & Biases, which keeps its id when it is resumed."""

    def __init__(self, folder: Path, config: Mapping[str, Any]):
        import wandb

        self._run = wandb.init(
            project="helix_jax",
            name=folder.name,
            id=fingerprint({"folder": str(folder.absolute()), "config": dict(config)}),
            resume="allow",
            config=dict(config),
            dir=str(folder),
        )
        self._last = self._run.step - 1  # logged by an earlier process

    def restart(self) -> None:
        """Do nothing: its steps only increase, and `log` drops the known ones."""

    def log(self, step: int, numbers: Numbers) -> None:
        if step > self._last:
            self._run.log(dict(numbers), step=step)
            self._last = step

    def finish(self, step: int, summary: Numbers) -> None:
        self._run.summary.update(dict(summary))
        self._run.finish()


class MLflow:
    """A run of MLflow, found again by a tag when it is resumed."""

    def __init__(self, folder: Path, config: Mapping[str, Any]):
        import mlflow

        self._client = client = mlflow.MlflowClient()
        found = client.get_experiment_by_name("helix_jax")
        experiment = found.experiment_id if found else None
        experiment = experiment or client.create_experiment("helix_jax")
        tag = fingerprint({"folder": str(folder.absolute()), "config": dict(config)})
        runs = client.search_runs([experiment], f"tags.helix_run = '{tag}'")
        if runs:
            self._id = runs[0].info.run_id
        else:
            tags = {"helix_run": tag}
            made = client.create_run(experiment, run_name=folder.name, tags=tags)
            self._id = made.info.run_id
            for name, value in config.items():
                client.log_param(self._id, name, str(value)[:500])
        self._last = max(self._steps(), default=-1)

    def _steps(self) -> Iterator[int]:
        """The last step of each number that an earlier process has sent."""
        for name in self._client.get_run(self._id).data.metrics:
            for one in self._client.get_metric_history(self._id, name):
                yield one.step

    def restart(self) -> None:
        """Do nothing: it keeps its steps, and `log` drops the known ones."""

    def log(self, step: int, numbers: Numbers) -> None:
        if step > self._last:
            self._send(step, numbers)
            self._last = step

    def finish(self, step: int, summary: Numbers) -> None:
        self._send(step, {f"summary/{name}": one for name, one in summary.items()})
        self._client.set_terminated(self._id)

    def _send(self, step: int, numbers: Numbers) -> None:
        for name, value in numbers.items():
            safe = re.sub(r"[^\w\-. /:]", "_", name)  # allowed in a name
            self._client.log_metric(self._id, safe, value, step=step)


_CLIENTS: dict[str, Callable[[Path, Mapping[str, Any]], Client]] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
    "mlflow": MLflow,
}


def _known(numbers: Mapping[str, float | None]) -> Numbers:
    """The numbers without missing and non-finite values."""
    return {name: value for name, value in numbers.items() if value is not None}
