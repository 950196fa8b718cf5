"""Two runs with one work directory: the second waits, then reads what is there."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helix_jax.lock_files import FILE
from helix_jax.runs import finish_run, is_done, open_run, read_summary
from helix_jax.runs.workdir import unclaimed_on_failure

from .test_workdir import Config

ROOT = Path(__file__).parents[2]
RUN = """
import sys
from helix_jax.runs import finish_run, is_done, open_run, read_summary
from tests.runs.test_workdir import Config
run = open_run(sys.argv[1], Config(width=int(sys.argv[3])))
if is_done(run):
    print("read", read_summary(run)["who"], flush=True)
else:
    print("begun", flush=True)
    sys.stdin.readline()
    print("made", finish_run(run, {"who": int(sys.argv[2])})["who"], flush=True)
"""


@pytest.fixture
def start(tmp_path):
    """(number, width) -> a process that opens the work directory."""
    started = []

    def begin(number, width=8):
        words = [str(tmp_path / "w"), str(number), str(width)]
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, *words],
            stdin=subprocess.PIPE,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_the_second_waits_and_reads(start, tmp_path):
    first = start(1)
    assert first.stdout.readline() == "begun\n"
    second, other = start(2), start(3, width=9)
    # Other flags need not wait to be refused.
    _, errors = other.communicate(timeout=60)
    assert "--width: 8 there, 9 now" in errors
    assert f"is being written by a run of {os.environ.get('USER', '')}" in (
        second.stderr.readline()
    )
    first.stdin.write("\n")
    first.stdin.flush()
    assert first.stdout.readline() == "made 1\n"
    assert second.stdout.readline() == "read 1\n"
    assert second.wait(timeout=60) == 0  # it may hold the lock until it ends
    assert not (tmp_path / "w" / FILE).exists()


def test_a_killed_run_is_taken_up_at_once(start, tmp_path):
    first = start(1)
    assert first.stdout.readline() == "begun\n"
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert (tmp_path / "w" / FILE).exists()
    run = open_run(tmp_path / "w", Config())
    assert not is_done(run)
    finish_run(run, {"who": 2})
    assert read_summary(run) == {"who": 2}
    assert sorted(path.name for path in (tmp_path / "w").iterdir()) == [
        "DONE",
        "config.json",
        "environment.json",
        "summary.json",
    ]


def test_a_failed_start_leaves_no_lock(tmp_path):
    def fail():
        open_run(tmp_path / "w", Config())
        raise KeyError

    with pytest.raises(KeyError), unclaimed_on_failure(tmp_path / "w"):
        fail()
    assert list(tmp_path.iterdir()) == []
    open_run(tmp_path / "w", Config())
    (tmp_path / "w" / "half").write_text("made")
    with pytest.raises(KeyError), unclaimed_on_failure(tmp_path / "w"):
        fail()
    assert not (tmp_path / "w" / FILE).exists()
    assert (tmp_path / "w" / "half").exists()
