"""Shell launchers: what they cannot use is refused before anything is sent."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GOOD = ["classify", "--workdir=runs/x", "--tiny"]


def launch(script, *words, path=""):
    return subprocess.run(
        ["bash", f"launch/{script}", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": f"{path}:/usr/bin:/bin"},
    )


@pytest.mark.parametrize("script", ["gpu_vm.sh", "tpu_vm.sh", "slurm.sh"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no experiment is named"),
        (["--workdir=x"], "no experiment is named"),
        (["classfy", "--workdir=x"], "no experiment classfy"),
        (["states", "--workdir=x"], "no experiment states"),
        (["classify", "--workdir=x", "--final_norm", "False"], "'False' is no flag"),
        (["classify", "--workdir=gs://b/x"], "--workdir=gs://b/x is a URL"),
        (["classify", "--workdir=gs:/b/x"], "--workdir=gs:/b/x is a URL"),
        (["../launch/sweep", "--workdir=x"], "no experiment ../launch/sweep"),
        (["classify", "--source=a"], "--workdir=FOLDER is missing"),
    ],
)
def test_wrong_words_are_named_in_one_line(script, words, said):
    own = {"gpu_vm.sh": ["user@host"], "tpu_vm.sh": ["name", "zone"], "slurm.sh": []}
    done = launch(script, *own[script], *words)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert said in line


@pytest.mark.parametrize("script", ["gpu_vm.sh", "tpu_vm.sh"])
def test_the_machine_is_named_first(script):
    done = launch(script)
    assert done.returncode == 2
    assert f"usage: launch/{script}" in done.stderr


def test_flags_arrive_as_they_were_given(tmp_path):
    """With a program in the place of ssh that notes what it is to run."""
    (tmp_path / "ssh").write_text(
        f'#!/bin/bash\necho "$2" >> {tmp_path}/sent; cat >> {tmp_path}/files\n'
    )
    (tmp_path / "ssh").chmod(0o755)
    done = launch("gpu_vm.sh", "u@h", *GOOD, "--prompt=two words", path=tmp_path)
    assert done.returncode == 0, done.stderr
    sent = (tmp_path / "sent").read_text()
    assert (
        r"-m experiments.classify --workdir=runs/x --tiny --prompt=two\ words" in sent
    )
    with tarfile.open(tmp_path / "files") as files:
        names = files.getnames()
    assert "./experiments/classify.py" in names
    left = {".git", ".venv", ".pytest_cache", ".ruff_cache", "__pycache__"}
    assert not left & {part for name in names for part in name.split("/")}


def test_a_job_submitted_from_elsewhere_says_from_where(tmp_path):
    done = subprocess.run(
        ["bash", ROOT / "launch" / "slurm.sh", *GOOD],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "submit from the folder of helix_jax" in line


def test_a_program_started_by_its_path_is_the_same(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "experiments" / "tokenizers.py", "--tinny"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line == "error: there is no flag --tinny (did you mean --tiny?)."
