"""Work directories: what they hold, when they resume, when they refuse."""

import dataclasses
import json

import pytest

from helix_jax.errors import RunError
from helix_jax.runs import (
    finish_run,
    is_done,
    log_metrics,
    open_run,
    read_summary,
    truncate_metrics,
)


@dataclasses.dataclass(frozen=True)
class Config:
    workdir: str = ""
    width: int = 8
    names: tuple[str, ...] = ("a", "b")


def test_a_run_leaves_its_five_files(tmp_path):
    run = open_run(tmp_path / "w", Config())
    log_metrics(run, 1, {"train/loss_nats": 2.5})
    assert not is_done(run)
    finish_run(run, {"test/accuracy": 0.5, "test/texts": 7})
    assert is_done(run)
    assert read_summary(run) == {"test/accuracy": 0.5, "test/texts": 7}
    found = {path.name for path in (tmp_path / "w").iterdir()}
    assert found == {
        "config.json",
        "environment.json",
        "metrics.jsonl",
        "summary.json",
        "DONE",
    }
    assert json.loads((tmp_path / "w" / "config.json").read_text())["width"] == 8


def test_the_same_flags_resume_wherever_the_folder_lies(tmp_path):
    open_run(tmp_path / "w", Config(workdir="one"))
    run = open_run(tmp_path / "w", Config(workdir="other"))
    assert not is_done(run)


def test_other_flags_are_refused_by_name(tmp_path):
    open_run(tmp_path / "w", Config())
    with pytest.raises(RunError, match=r"--width: 8 there, 9 now"):
        open_run(tmp_path / "w", Config(width=9))


def test_another_experiment_is_refused(tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Other:
        width: int = 8

    open_run(tmp_path / "w", Config())
    with pytest.raises(RunError, match="'Config' there, 'Other' now"):
        open_run(tmp_path / "w", Other())


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(RunError, match="no work directory"):
        open_run(tmp_path, Config())


def test_a_damaged_config_is_an_error(tmp_path):
    open_run(tmp_path / "w", Config())
    (tmp_path / "w" / "config.json").write_text("{")
    with pytest.raises(RunError, match="damaged"):
        open_run(tmp_path / "w", Config())


def test_metrics_after_a_step_and_half_lines_are_dropped(tmp_path):
    run = open_run(tmp_path / "w", Config())
    for step in (1, 2, 3):
        log_metrics(run, step, {"train/loss_nats": 1.0 / step})
    path = tmp_path / "w" / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 4, "tra')
    truncate_metrics(run, 2)
    steps = [json.loads(line)["step"] for line in path.read_text().splitlines()]
    assert steps == [1, 2]


def test_a_number_that_is_not_finite_becomes_null(tmp_path):
    run = open_run(tmp_path / "w", Config())
    finish_run(run, {"a": float("nan"), "b": float("inf"), "c": 1})
    assert read_summary(run) == {"a": None, "b": None, "c": 1}
