"""Work directories: what they hold, when they resume, when they refuse."""

import dataclasses
import json
import subprocess

import pytest

import helix_jax
from helix_jax.errors import PathError, RunError
from helix_jax.runs import (
    finish_run,
    is_done,
    log_metrics,
    open_run,
    read_summary,
    truncate_metrics,
)
from helix_jax.runs.environment import commit_of
from helix_jax.runs.workdir import unclaimed_on_failure


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


def test_a_flag_that_there_was_not_yet_had_its_default(tmp_path):
    flags = open_run(tmp_path / "w", Config()).folder / "config.json"
    record = json.loads(flags.read_text())
    del record["names"]
    flags.write_text(json.dumps(record))
    open_run(tmp_path / "w", Config())
    with pytest.raises(RunError, match=r"--names: \['a', 'b'\] there, \['c'\] now"):
        open_run(tmp_path / "w", Config(names=("c",)))


def test_another_experiment_is_refused(tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Other:
        width: int = 8

    open_run(tmp_path / "w", Config())
    with pytest.raises(RunError, match="'Config' there, 'Other' now"):
        open_run(tmp_path / "w", Other())


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(RunError, match="not a work directory"):
        open_run(tmp_path, Config())


@pytest.mark.parametrize("config", ['{"kind": "affine_map"}', "{}"])
def test_the_config_of_something_else_is_refused(tmp_path, config):
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(RunError, match="not a work directory"):
        open_run(tmp_path, Config())
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


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


def test_the_environment_names_version_and_commit(tmp_path):
    run = open_run(tmp_path / "w", Config())
    found = json.loads((run.folder / "environment.json").read_text())
    assert found["versions"]["helix_jax"] == helix_jax.__version__
    assert {"commit", "changed"} <= found.keys()


def test_a_commit_is_that_of_a_checkout_and_of_nothing_else(tmp_path):
    def git(*words):
        name = ["-c", "user.name=a", "-c", "user.email=a@b"]
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *name, *words],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    package, installed = tmp_path / "package", tmp_path / ".venv" / "package"
    for folder in (package, installed):
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("")
    assert commit_of(package) == {"commit": None, "changed": None}
    git("init", "-q")
    git("add", "package")
    git("commit", "-qm", "first")
    assert commit_of(package) == {"commit": git("rev-parse", "HEAD"), "changed": False}
    (package / "__init__.py").write_text("x = 1")
    assert commit_of(package)["changed"]
    assert commit_of(installed) == {"commit": None, "changed": None}


def fail_in(folder, *work):
    """Some work in a folder, and an error."""
    with pytest.raises(KeyError), unclaimed_on_failure(folder):
        [step() for step in work] + {}["an error"]


def test_a_failed_start_leaves_no_flags_but_its_stores(tmp_path):
    folder = tmp_path / "a" / "w"
    fail_in(
        folder,
        lambda: open_run(folder, Config()),
        lambda: open_run(folder / "pair", Config(width=9)),
        lambda: (folder / "stores" / "x").mkdir(parents=True),
    )
    assert [path.name for path in folder.iterdir()] == ["stores"]
    open_run(folder, Config(width=10))  # whose flags may be others
    fail_in(folder)
    assert (folder / "config.json").exists()  # of an earlier run
    other = tmp_path / "b" / "v"
    fail_in(
        other,
        lambda: open_run(other, Config()),
        lambda: open_run(other / "pair", Config()),
        lambda: (other / "pair" / "map").touch(),
    )
    assert (other / "config.json").exists()
    assert (other / "pair" / "config.json").exists()


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("file", "--workdir=.*file cannot .*: a part of this path is a file"),
        ("file/below", "file/below cannot .* a file, not a folder"),
        ("x" * 300, "name is too long"),
        ("/proc/none/w", "/proc/none/w cannot"),
        ("gs://bucket/w", "--workdir must be a local .* gs://bucket/w"),
    ],
)
def test_a_place_that_cannot_be_a_work_directory(place, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises((RunError, PathError), match=said):
        open_run(place, Config())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_home_is_expanded_without_flags_too(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_run("~/run", Config()).folder == tmp_path / "run"
    assert (tmp_path / "run" / "config.json").exists()
