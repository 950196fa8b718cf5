"""The command `helix` runs the programs, and names those that were meant."""

import subprocess
import sys

import pytest

from experiments import programs
from helix_jax import __version__


def run(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, check=False
    )


def test_a_program_by_its_name_is_the_module():
    by_name = run("experiments", "list", "--program=list")
    by_module = run("experiments.list", "--program=list")
    assert by_name.returncode == by_module.returncode == 0
    assert by_name.stdout == by_module.stdout
    assert "--program" in by_name.stdout


def test_without_a_name_all_programs_are_shown():
    found = run("experiments")
    assert found.returncode == 0
    for name in programs():
        assert f"| {name} " in found.stdout


@pytest.mark.parametrize(
    ("name", "meant"), [("clasify", "classify"), ("../classify", "classify")]
)
def test_another_name_is_refused_with_what_was_meant(name, meant):
    found = run("experiments", name, "--workdir=x")
    assert found.returncode == 2
    assert found.stdout == ""
    assert f"did you mean {meant}" in found.stderr


def test_wrong_flags_are_refused_as_by_the_module():
    by_name = run("experiments", "classify", "--bogus")
    assert by_name.returncode == 2
    assert "--bogus" in by_name.stderr


def test_version():
    assert run("experiments", "--version").stdout == f"helix_jax {__version__}\n"


@pytest.mark.parametrize("words", ["--help", "--version", "list", "classify --help"])
def test_a_reader_who_reads_nothing_ends_it_without_a_word(words):
    command = f"{sys.executable} -m experiments {words} | true"
    found = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert found.stderr == ""
