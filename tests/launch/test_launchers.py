"""Launchers: what they cannot use is refused before anything is sent."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GOOD = ["classify", "--workdir=runs/x", "--tiny"]
OWN = {  # variables that a launcher needs
    "local.sh": {"PROCESSES": "2"},
    "gpu_vm.sh": {"HOSTS": "user@host"},
    "tpu_vm.sh": {"TPU_NAME": "slice", "ZONE": "zone"},
}


def launch(script, *words, path="", **variables):
    return subprocess.run(
        ["bash", f"launch/{script}", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": f"{path}:/usr/bin:/bin", **variables},
    )


def stand_in(folder, name, body=""):
    """A program that notes its arguments, one line each, and what it is sent."""
    path = folder / name
    path.write_text(
        "#!/bin/bash\n"
        f"until mkdir {path}.lock 2> /dev/null; do sleep .01; done\n"  # one at a time
        f"printf '%s\\n' \"$@\" == >> {path}.words\nrmdir {path}.lock\n{body}\n"
    )
    path.chmod(0o755)


def calls(folder, name):
    """The arguments of each call of a stand-in."""
    words = (folder / f"{name}.words").read_text().split("\n")
    found = [[]]
    for word in words[:-1]:
        found.append([]) if word == "==" else found[-1].append(word)
    return found[:-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no experiment is named"),
        (["--workdir=x"], "no experiment is named"),
        (["classfy", "--workdir=x"], "no experiment classfy"),
        (["states", "--workdir=x"], "no experiment states"),
        (["classify", "--workdir=x", "--final_norm", "False"], "'False' is not a flag"),
        (["classify", "--workdir=hf://b/x"], "--workdir is a folder of the machine"),
        (["classify", "--workdir=gs:/b/x"], "--workdir is a folder of the machine"),
        (["../launch/sweep", "--workdir=x"], "no experiment ../launch/sweep"),
        (["classify", "--source=a"], "--workdir=FOLDER is missing"),
        ([*GOOD, "--process=1"], "--process=1 is given by the launcher"),
    ],
)
def test_wrong_words_are_named_in_one_line(words, said):
    for script, own in OWN.items():
        done = launch(script, *words, **own)
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: ")
        assert said in line


@pytest.mark.parametrize("script", OWN)
def test_all_variables_that_are_missing_are_named_at_once(script):
    done = launch(script, *GOOD)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert all(f"{name} (" in line for name in OWN[script])


def test_an_interpreter_that_is_not_there_is_named():
    done = launch("local.sh", *GOOD, PROCESSES="2", PYTHON="no-python")
    assert done.returncode == 2
    assert "there is no no-python; name the interpreter in PYTHON" in done.stderr


def test_help_is_the_head_of_the_launcher():
    done = launch("gpu_vm.sh", "--help")
    assert done.returncode == 0
    head = (ROOT / "launch/gpu_vm.sh").read_text().split("\nset -euo")[0]
    assert done.stdout.splitlines() == [one[2:] for one in head.splitlines()[1:]]


@pytest.mark.parametrize("script", OWN)
def test_a_dry_run_prints_what_it_would_run_and_runs_nothing(script, tmp_path):
    for name in ("ssh", "gcloud", "python"):
        stand_in(tmp_path, name)
    own = OWN[script] | {"PYTHON": "python"}
    done = launch(script, "--dry_run", *GOOD, "--prompt=a b", path=tmp_path, **own)
    assert done.returncode == 0, done.stderr
    assert "experiments.classify" in done.stdout
    assert not list(tmp_path.glob("*.words"))


@pytest.mark.slow
def test_flags_arrive_as_they_were_given(tmp_path):
    stand_in(tmp_path, "ssh", f"cat >> {tmp_path}/files")
    words = [*GOOD, "--prompt=two words"]
    done = launch("gpu_vm.sh", *words, path=tmp_path, HOSTS="u@h")
    assert done.returncode == 0, done.stderr
    installed, started = calls(tmp_path, "ssh")
    assert installed[0] == started[0] == "u@h"
    assert "|| { python3 -m venv .venv" in installed[1]  # once
    told = r"-m experiments.classify --workdir=runs/x --tiny --prompt=two\ words "
    assert started[1].endswith(told)
    with tarfile.open(tmp_path / "files") as files:
        names = files.getnames()
    assert "./experiments/classify.py" in names
    left = {".git", ".venv", ".pytest_cache", ".ruff_cache", "__pycache__"}
    assert not left & {part for name in names for part in name.split("/")}


@pytest.mark.slow
def test_every_host_is_a_process(tmp_path):
    stand_in(tmp_path, "ssh", "cat > /dev/null")
    done = launch("gpu_vm.sh", *GOOD, path=tmp_path, HOSTS="u@a v@b", PORT="99")
    assert done.returncode == 0, done.stderr
    started = [call for call in calls(tmp_path, "ssh") if "experiments" in call[1]]
    flags = "--coordinator=a:99 --processes=2 --process="
    found = {host: words.partition("--tiny ")[2].strip() for host, words in started}
    assert found == {"u@a": f"{flags}0", "v@b": f"{flags}1"}


@pytest.mark.slow
def test_every_worker_of_a_slice_is_set_up_and_started(tmp_path):
    stand_in(tmp_path, "gcloud")
    own = OWN["tpu_vm.sh"] | {"PROJECT": "mine"}
    done = launch("tpu_vm.sh", *GOOD, path=tmp_path, **own)
    assert done.returncode == 0, done.stderr
    sent, installed, started = calls(tmp_path, "gcloud")
    assert sent[:4] == ["compute", "tpus", "tpu-vm", "scp"]
    for call in (sent, installed, started):
        assert {"--zone=zone", "--worker=all", "--project=mine"} < set(call)
    assert "'.[tpu]'" in installed[-1]
    assert started[-1].rstrip().endswith("--tiny --processes=auto")


def test_processes_of_this_machine_end_together(tmp_path):
    """The second fails; the others would run for ten minutes."""
    body = "[[ $* == *--process=1 ]] && echo broken >&2 && exit 3; exec sleep 600"
    stand_in(tmp_path, "python", body)
    own = {"PROCESSES": "3", "PYTHON": "python"}
    done = launch("local.sh", *GOOD, path=tmp_path, **own)
    assert done.returncode == 3
    assert "[1] broken" in done.stdout
    found = sorted(calls(tmp_path, "python"), key=lambda words: words[-1])
    assert [words[-1] for words in found] == [f"--process={i}" for i in range(3)]
    (coordinator,) = {words[-3] for words in found}
    assert coordinator.startswith("--coordinator=127.0.0.1:")


def test_a_rented_machine_runs_the_words_that_it_is_given(tmp_path):
    """The run block of sky.yaml, with what SkyPilot sets."""
    task = yaml.safe_load((ROOT / "launch" / "sky.yaml").read_text())
    assert {name for name, value in task["envs"].items() if value is None} == {
        "BUCKET",
        "RUN",
        "WORDS",
    }
    assert task["resources"]["job_recovery"]["strategy"] == "FAILOVER"
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    stand_in(tmp_path, "python")
    (tmp_path / ".venv" / "bin" / "python").symlink_to(tmp_path / "python")
    for nodes in ("1", "2"):
        variables = {
            "SKYPILOT_NUM_NODES": nodes,
            "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2",
            "SKYPILOT_NODE_RANK": "1",
            "BUCKET": "s3://b",
            "RUN": "r",
            "WORDS": "fit --prompt='two words'",
        }
        subprocess.run(
            ["bash", "-c", task["run"]],
            cwd=tmp_path,
            check=True,
            env={"PATH": "/usr/bin:/bin", **variables},
        )
    alone, second = calls(tmp_path, "python")
    assert alone[:3] == ["-m", "experiments.fit", "--workdir=s3://b/runs/r"]
    assert alone[3:] == ["--stores=s3://b/stores", "--prompt=two words"]
    variables["BUCKET"] = "b"  # which would be a folder of the rented machine
    done = subprocess.run(
        ["bash", "-c", task["run"]],
        check=False,
        capture_output=True,
        env={"PATH": "/usr/bin:/bin", **variables},
    )
    assert done.returncode == 2
    told = ["--coordinator=10.0.0.1:8476", "--processes=2", "--process=1"]
    assert second == alone + told


def test_launchers_are_clean():
    if not shutil.which("shellcheck"):
        pytest.skip("no shellcheck")
    scripts = sorted(map(str, (ROOT / "launch").glob("*.sh")))
    done = subprocess.run(
        ["shellcheck", "-x", "-P", "SCRIPTDIR", *scripts],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


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
