"""Metrics in TensorBoard, Weights & Biases and MLflow, read back as each has them."""

import dataclasses
import struct

import pytest
from absl import flags

from helix_jax.errors import RunError
from helix_jax.runs import finish_run, log_metrics, open_run, option, truncate_metrics
from helix_jax.runs.tracking import (
    METRICS,
    Tracker,
    choose_trackers,
    define_tracking_flags,
)
from helix_jax.runs.workdir import tracked
from helix_jax.stats import Interval


@dataclasses.dataclass(frozen=True)
class TinyConfig:
    """Flags of a run."""

    workdir: str = option("", "work directory")
    rate: float = option(0.5, "a rate")


@pytest.fixture
def choose():
    """Sets the flags of this process; none afterwards."""

    def parse(*words):
        known = flags.FlagValues()
        define_tracking_flags(known, program="test")
        known(["test", *words])
        choose_trackers(known)

    yield parse
    parse()


def log_run(folder, *, killed_at=None):
    """A run of four steps, or what one that is killed leaves; once more, it goes on."""
    config = TinyConfig(str(folder))
    run = tracked(open_run(folder, config), config)
    exists = (folder / "metrics.jsonl").exists()
    first = 1 if exists else 0
    truncate_metrics(run, first - 1)
    for step in range(first, 4):
        log_metrics(run, step, {"train/loss": 4.0 - step, "train/none": float("nan")})
        if step == killed_at:
            return
    finish_run(run, {"test/r2": Interval(0.5, 0.25, 0.75)})


STEPS = [(0, 4.0), (1, 3.0), (2, 2.0), (3, 1.0)]
SUMMARY = {"test/r2": 0.5, "test/r2_low": 0.25, "test/r2_high": 0.75}


def test_without_flags_nothing_is_tracked(tmp_path, choose):
    choose()
    log_run(tmp_path / "w")
    names = {path.name for path in (tmp_path / "w").iterdir()}
    assert not names & {"tensorboard", "wandb", "mlruns"}


class Recorded:
    """A client that keeps what it is sent."""

    def __init__(self):
        self.sent = []

    def restart(self):
        self.sent.append("restart")

    def log(self, step, numbers):
        self.sent.append((step, dict(numbers)))

    def finish(self, step, summary):
        self.sent.append((step, "end"))


def test_a_client_is_sent_each_line_once_and_all_again_where_the_file_was_cut(tmp_path):
    lines = ['{"step": 0, "a": 1.0}\n', '{"step": 1, "a": 2.0}\n']
    client, path = Recorded(), tmp_path / METRICS
    tracker = Tracker(tmp_path, lambda: client)
    for count in (0, 1, 1, 2, 1):
        path.write_text("".join(lines[:count]))
        tracker.follow()
    zero, one = (0, {"a": 1.0}), (1, {"a": 2.0})
    assert client.sent == [zero, one, "restart", zero]
    tracker.finish({})
    assert client.sent[-1] == (0, "end")


def test_a_client_that_is_missing_is_named(choose, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"--tracker=wandb needs wandb: pip install"):
        choose("--tracker=wandb")
    with pytest.raises(RunError, match=r"'helix_jax\[tensorboard\]'"):
        choose("--tensorboard")


def test_tensorboard_has_each_step_once(tmp_path, choose):
    pytest.importorskip("tensorboardX")
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    choose("--tensorboard")
    log_run(tmp_path / "w", killed_at=2)
    log_run(tmp_path / "w")
    events = accumulator.EventAccumulator(str(tmp_path / "w" / "tensorboard"))
    events.Reload()
    found = [(one.step, one.value) for one in events.Scalars("train/loss")]
    assert found == STEPS
    assert "train/none" not in events.Tags()["scalars"]
    shown = {name: events.Scalars(f"summary/{name}")[0] for name in SUMMARY}
    assert {name: one.value for name, one in shown.items()} == SUMMARY


def test_mlflow_has_each_step_once(tmp_path, choose, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    place = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", place)
    choose("--tracker=mlflow")
    log_run(tmp_path / "w", killed_at=2)
    log_run(tmp_path / "w")
    client = mlflow.MlflowClient(place)
    experiment = client.get_experiment_by_name("helix_jax").experiment_id
    (run,) = client.search_runs([experiment])
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert sorted((one.step, one.value) for one in history) == STEPS
    assert run.data.params["rate"] == "0.5"
    assert {name: run.data.metrics[f"summary/{name}"] for name in SUMMARY} == SUMMARY
    assert run.info.status == "FINISHED"


def test_wandb_has_each_step_once(tmp_path, choose, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    choose("--tracker=wandb")
    log_run(tmp_path / "w")
    (path,) = (tmp_path / "w" / "wandb").glob("offline-run-*/*.wandb")
    steps, summary = [], {}
    for record in wandb_records(path.read_bytes()):
        values = {
            item.key or "/".join(item.nested_key): item.value_json
            for item in record.history.item
        }
        if "train/loss" in values:
            steps.append((record.history.step.num, float(values["train/loss"])))
        for item in record.summary.update:
            summary[item.key or "/".join(item.nested_key)] = item.value_json
    assert steps == STEPS
    assert {name: float(summary[name]) for name in SUMMARY} == SUMMARY


def wandb_records(data, block=32768):
    """The records of an offline run: a log in LevelDB's format behind seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    place, held = 7, b""
    while place + 7 <= len(data):
        if block - place % block < 7:
            place += block - place % block
        length, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        held += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or its last part
            yield Record.FromString(held)
            held = b""
