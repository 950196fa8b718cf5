"""A program as 2 and 4 real processes: the same bytes, killed or not; clear errors."""

import filecmp
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from absl import flags
from safetensors.numpy import load_file

from helix_jax.activations import open_store
from helix_jax.errors import RunError
from helix_jax.runs.command_line import parse_flags
from helix_jax.runs.processes import Place, code_record, define_process_flags, place_of

from .process_runner import MESH

pytestmark = pytest.mark.slow  # processes that import JAX

ROOT = Path(__file__).parents[2]


def run_all(out: Path, *words: str) -> dict:
    """What `process_runner` reports."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-m", "runs.process_runner", str(out), *words],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of all runs, and how their processes ended."""
    out = tmp_path_factory.mktemp("runs")
    return out, run_all(out)


def files(folder: Path) -> list[str]:
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    )


def same_stores(out: Path) -> None:
    """Raise unless the stores of both work directories have the same bytes."""
    whole, shared = out / "whole" / "stores", out / "shared" / "stores"
    names = files(whole)
    assert len(names) > 100
    assert files(shared) == names
    _, other, missing = filecmp.cmpfiles(whole, shared, names, shallow=False)
    assert (other, missing) == ([], [])


def close_stores(whole: Path, cut: Path, splits: int) -> None:
    """Raise unless stores are those of one device: 3e-6 of the largest state.

    Observed: 4.3e-7.
    """
    names = sorted(path.name for path in cut.iterdir())
    assert len(names) == splits
    for name in names:
        one, other = (open_store(folder / name) for folder in (whole, cut))
        assert one.ids == other.ids
        states, error = one.read(), np.abs(one.read() - other.read()).max()
        assert error <= 3e-6 * np.abs(states).max(), error / np.abs(states).max()


@pytest.mark.parametrize("mesh", [(), MESH], ids=["divided", "shared"])
def test_kills_at_random(tmp_path, mesh):
    if not os.environ.get("HELIX_WIDE"):
        pytest.skip("ten minutes; HELIX_WIDE=1 runs it")
    kills = 10 if mesh else 30
    seed = int.from_bytes(os.urandom(4), "little")
    report = run_all(tmp_path, str(kills), str(seed), *mesh)
    assert {status for status, _ in report["last"]} == {0}, f"seed {seed}"
    for number in range(kills):
        *both, (victim, _) = report[f"kill{number}"]
        (killed, _), (status, said) = both[victim], both[1 - victim]
        assert (killed, status) == (-9, 2), f"seed {seed}"
        assert said.startswith("error: "), f"seed {seed}"
    if mesh:
        close_stores(tmp_path / "whole" / "stores", tmp_path / "shared" / "stores", 3)
    else:
        same_stores(tmp_path)


def test_a_training_by_two_processes_is_that_of_one(tmp_path):
    """Weights to 1e-5 of the largest."""
    if not os.environ.get("HELIX_WIDE"):
        pytest.skip("half a minute; HELIX_WIDE=1 runs it")
    report = run_all(tmp_path, "pretrain")
    assert [status for status, _ in report["one"] + report["two"]] == [0] * 3, report
    one, two = (
        load_file(tmp_path / name / "model" / "model.safetensors")
        for name in ("one", "two")
    )
    assert one.keys() == two.keys()
    worst = max(np.abs(one[name] - two[name]).max() for name in one)
    assert 0 < worst < 1e-5 * max(np.abs(values).max() for values in one.values())


def test_two_killed_and_four_that_go_on_leave_the_bytes_of_one(runs):
    out, report = runs
    assert [status for status, _ in report["whole"] + report["four"]] == [0] * 5
    same_stores(out)


def test_a_killed_process_ends_the_others_with_its_number(runs):
    (status, said), (killed, _) = runs[1]["killed"]
    assert (status, killed) == (2, -9)
    assert said.startswith("error: process 1 ended without a word: it was killed")


def test_a_process_that_is_asked_to_end_tells_the_others(runs):
    (status, said), (other, told) = runs[1]["asked to end"]
    assert (status, other) == (143, 2)
    assert said.startswith("interrupted; run the same command again")
    assert told.startswith("error: process 0 has failed: it was interrupted")


def test_a_run_that_has_ended_is_shown_by_all(runs):
    out, report = runs
    assert [status for status, _ in report["again"]] == [0, 0]
    assert "States of texts" in (out / "again.0.out").read_text()
    assert (out / "again.1.out").read_text() == ""  # process 0 alone speaks


def test_other_flags_are_named_on_every_process(runs):
    out, report = runs
    want = "process 1 differs from process 0 in flags: --limit is 0 on process 0 and 7 "
    for status, said in report["other flags"]:
        assert status == 2
        assert said.startswith(f"error: {want}")
    assert not (out / "other").exists()


def test_devices_of_two_processes_are_one_set_until_one_is_lost(runs):
    """Moments over four devices are those of one; see `process_runner.add_up`."""
    out, report = runs
    (status, said), (killed, _) = report["devices"]
    assert (status, killed) == (2, -9)
    assert "error: process 1 ended without a word" in said
    assert "equal on process 0" in (out / "devices.0.err").read_text()


def test_a_model_over_the_devices_of_two_processes(runs):
    """A copy of the model needs both; asked to end, killed, and gone on."""
    out, report = runs
    (status, said), (other, told) = report["cut, asked"]
    assert (status, other) == (143, 2)
    assert said.startswith("interrupted; run the same command again")
    assert told.startswith("error: process 0 has failed: it was interrupted")
    (killed, _), (status, said) = report["cut, killed"]
    assert (killed, status) == (-9, 2)
    assert said.startswith("error: process 0 ended without a word: it was killed")
    assert [status for status, _ in report["cut"]] == [0, 0]
    close_stores(out / "whole" / "stores", out / "cut" / "stores", 1)
    (metadata,) = (out / "cut" / "stores").glob("*/metadata.json")
    layout = json.loads(metadata.read_text())["layout"]
    assert layout["cut"] == "fsdp:2,tensor:2 over 2 processes"


def place(*words: str) -> Place | None:
    known = flags.FlagValues()
    define_process_flags(known, program="p")
    parse_flags(words, known)
    return place_of(known)


def test_flags_give_a_place():
    assert place() is None
    given = "--processes=4", "--process=2", "--coordinator=h:7000"
    assert place(*given) == Place("h:7000", 4, 2)
    for words, message in (
        (["--processes=2"], "--processes=2 needs --coordinator=HOST:PORT"),
        (["--processes=two"], "expected a whole number, or auto"),
        (["--processes=0"], "expected a whole number"),
        (["--process=1"], "numbered from 0 to 0"),
        (["--coordinator=h:1"], "without --processes=N"),
        (["--processes=auto"], "neither SLURM, .* is known here"),
    ):
        with pytest.raises(RunError, match=message):
            place(*words)


def test_the_place_of_a_job_of_slurm(monkeypatch):
    for name, value in {
        "JOB_ID": "77",
        "STEP_NODELIST": "node[03-04]",
        "NTASKS": "2",
        "PROCID": "1",
        "LOCALID": "0",
    }.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert place("--processes=auto") == Place("node03:61517", 2, 1)


def test_code_is_known_by_each_file():
    record = code_record()
    assert record["jax"]
    assert len(record["helix_jax"]["runs/processes.py"]) == 8
