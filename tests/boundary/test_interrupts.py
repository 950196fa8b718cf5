"""Real processes: interrupted, resumed, cut off, and what they leave behind."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import cases

PROGRAM = """
import dataclasses, sys, threading, time
from helix_jax.runs import finish_run, open_run, option, prepare_config
from helix_jax.runs.program import start_program
from tqdm import tqdm

@dataclasses.dataclass(frozen=True)
class WaitConfig:
    workdir: str = option("", "where", names="workdir", required=True)
    work: bool = option(False, "write something first")
    quick: bool = option(False, "do not wait")

def run(config):
    config = prepare_config(config)
    folder = open_run(config.workdir, config).folder
    if config.work:
        (folder / "half").touch()
    if config.quick:
        print("line\\n" * 100_000)
        return
    threading.Thread(target=time.sleep, args=(60,)).start()  # that nobody ends
    print("working", flush=True)
    for _ in tqdm(range(600), desc="steps"):
        time.sleep(0.1)

if __name__ == "__main__":
    start_program(WaitConfig, run)
"""


def start(*words, code=PROGRAM):
    return subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_an_interrupted_run_says_so_in_one_line(tmp_path, number, status):
    process = start(f"--workdir={tmp_path / 'a' / 'w'}")
    assert process.stdout.readline() == "working\n"
    time.sleep(0.3)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == status
    assert "Traceback" not in said
    last = said.replace("\r", "\n").splitlines()[-1]
    assert last == "interrupted; run the same command again to resume."
    assert list(tmp_path.iterdir()) == []  # nothing but flags was there


def test_who_cannot_go_on_is_not_told_to_start_again(tmp_path):
    code = PROGRAM.replace("Config, run)", 'Config, run, interrupted="it is out")')
    process = start(f"--workdir={tmp_path / 'w'}", code=code)
    assert process.stdout.readline() == "working\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    last = said.replace("\r", "\n").splitlines()[-1]
    assert (process.returncode, last) == (130, "interrupted; it is out.")


@pytest.mark.slow
def test_an_interrupted_run_with_work_in_it_keeps_it(tmp_path):
    process = start(f"--workdir={tmp_path / 'w'}", "--work")
    assert process.stdout.readline() == "working\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert (tmp_path / "w" / "half").exists()
    assert json.loads((tmp_path / "w" / "config.json").read_text())["work"]
    again = start(f"--workdir={tmp_path / 'w'}", "--work", "--quick")
    _, said = again.communicate(timeout=60)
    assert again.returncode == 2
    assert "made with other flags (--quick: False there, True now)" in said


@pytest.mark.slow
def test_a_reader_that_has_enough_ends_no_run_with_a_traceback(tmp_path):
    process = start(f"--workdir={tmp_path / 'w'}", "--quick")
    process.stdout.readline()
    process.stdout.close()
    said = process.stderr.read()
    process.wait(timeout=60)
    assert said == ""


def test_an_interruption_while_a_program_is_imported(tmp_path):
    """`python -m experiments.fit` takes a second before it looks at its flags."""
    code = """
import sys
sys.argv[0] = "-m"
import experiments
print("importing", flush=True)
import time; time.sleep(30)
"""
    process = start(code=code)
    assert process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert said == "interrupted before any work.\n"


@pytest.mark.parametrize("moment", ["importing", "working"])
def test_an_interruption_in_a_finalizer_is_not_lost(tmp_path, moment):
    """Python drops what is raised there; the signal is sent again."""
    code = """
import os, signal, time
class Dropped:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
def run(config):
    if config:
        open_run(config.workdir, config)
    Dropped()
    print("dropped", flush=True)
    for _ in range(600):
        time.sleep(0.1)
"""
    end = "import sys; sys.argv[0] = '-m'; import experiments; run(None)"
    if moment == "working":
        head = PROGRAM.partition("def run(config)")[0]
        code, end = head + code, "start_program(WaitConfig, run)"
    process = start(f"--workdir={tmp_path / 'w'}", code=code + end)
    said, shown = process.communicate(timeout=30)
    assert said == "dropped\n"
    assert (
        shown
        == {
            "importing": "interrupted before any work.\n",
            "working": "interrupted; run the same command again to resume.\n",
        }[moment]
    )


@pytest.mark.parametrize(
    ("program", "words", "said"),
    cases(
        [
            ("experiments.fit", ["--final_norm", "False"], "--nofinal_norm"),
            ("benchmarks.methods", ["--rows=1,x"], "whole numbers separated by commas"),
            ("launch.sweep", ["--experiment=fit", "x", "--", "--tiny"], "'x'"),
        ],
        ("experiments.extract", ["--layers", "0", "1"], "--layers=0,1"),
        ("experiments.generate", ["--promt=x"], "did you mean --prompt?"),
        ("benchmarks.pairing", ["--tiny", "false"], "--notiny or --tiny=false"),
        ("benchmarks.private", ["--only=layr"], "layer, fit, growth"),
        ("launch.sweep", ["--experiment=fit", "--workdir=w", "--tiny"], "--tiny"),
    ),
)
def test_programs_refuse_words_before_any_work(program, words, said, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", program, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONWARNINGS": "default"},
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert done.stdout == ""
