"""Jobs on a real SLURM of one node: arrays, what is preempted, what fails."""

import json
import subprocess
import sys
import time

import pytest

from helix_jax.errors import RunError
from helix_jax.progress import Progress
from launch.children import Task, last_line
from launch.jobs import queue, read_options, run_on_slurm, submit
from tests.launch.slurm_node import one_node


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    pytest.importorskip("submitit")
    with one_node(tmp_path_factory.mktemp("slurm")):
        yield


def test_options_are_read_or_refused():
    assert read_options(["partition=gpu", "time=60"]) == {
        "partition": "gpu",
        "time": 60,
    }
    for wrong in (["time"], ["time="], ["time=1", "time=2"]):
        with pytest.raises(RunError, match="--slurm needs name=value"):
            read_options(wrong)


def test_without_slurm_a_job_is_refused_in_words(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    task = Task("a", ["true"], tmp_path / "a")
    with pytest.raises(RunError, match=r"no sbatch .* login node"):
        submit([task], tmp_path, {}, name="a")


def test_an_option_that_sbatch_does_not_have_is_named(slurm, tmp_path):
    task = Task("a", ["true"], tmp_path / "a")
    with pytest.raises(ValueError, match="gpu_count"):
        submit([task], tmp_path, {"gpu_count": 1}, name="a")
    with pytest.raises(RunError, match=r"SLURM refuses the job: .*nowhere"):
        submit([task], tmp_path, {"partition": "nowhere"}, name="a")


def test_an_array_runs_fails_and_goes_on_after_preemption(slurm, tmp_path):
    """The program notes each start; the preempted one has two."""
    code = (
        "import pathlib, sys, time\n"
        "place = pathlib.Path(sys.argv[1])\n"
        "with place.open('a') as notes: notes.write('started\\n')\n"
        "if place.name == 'fails': sys.exit('it went wrong')\n"
        "while place.name == 'preempted' and place.read_text().count('\\n') < 2:\n"
        "    time.sleep(.05)\n"
    )
    tasks = [
        Task(
            name,
            [sys.executable, "-c", code, str(tmp_path / name)],
            tmp_path / "logs" / name,
        )
        for name in ("ends", "fails", "preempted")
    ]
    options, ended = {"time": 5, "cpus_per_task": 1}, {}
    with Progress("jobs", show=False) as shown:
        running = run_on_slurm(tasks, tmp_path, options, name="three", shown=shown)
        for one in running:
            ended[one.task.name] = one.status
            if len(ended) == 2:
                _await((tmp_path / "preempted").exists)
                assert shown.line().startswith("jobs: ")
                running.close()  # as when the sweep is killed
                break
        (job,) = queue()
        subprocess.run(["scancel", "--signal=USR2", job], check=True)  # preemption
        _await(lambda: queue().get(job, "").startswith("pending"))
        # Not two minutes, as SLURM would; at once the node may not have let go.
        start = ["scontrol", "update", f"jobid={job}", "StartTime=now+4"]
        subprocess.run(start, check=True)
        again = run_on_slurm(tasks[2:], tmp_path, options, name="three", shown=shown)
        ended |= {one.task.name: one.status for one in again}
    assert ended == {"ends": 0, "fails": 1, "preempted": 0}
    assert last_line(tasks[1].log) == "it went wrong"
    assert (tmp_path / "preempted").read_text() == "started\nstarted\n"
    assert (tmp_path / "ends").read_text() == "started\n"


@pytest.mark.slow
def test_the_processes_of_a_job_find_each_other(slurm, tmp_path):
    text = tmp_path / "text.jsonl"
    lines = ({"text": f"{i} is a number and {i + 1} is too."} for i in range(300))
    text.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    words = [
        "--tiny",
        "--max_tokens=16",
        f"--data={text}",
        f"--workdir={tmp_path / 'w'}",
    ]
    task = Task(
        "extract",
        [sys.executable, "-m", "experiments.extract", *words],
        tmp_path / "log",
    )
    options = {"time": 10, "ntasks_per_node": 2, "cpus_per_task": 1}
    with Progress("jobs", show=False) as shown:
        running = run_on_slurm([task], tmp_path, options, name="two", shown=shown)
        (ended,) = running
    assert ended.status == 0, task.log.read_text()
    environment = json.loads((tmp_path / "w" / "environment.json").read_text())
    assert environment["processes"] == 2
    assert (tmp_path / "log.1").exists()


def _await(ready) -> None:
    ends = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < ends
        time.sleep(0.05)
