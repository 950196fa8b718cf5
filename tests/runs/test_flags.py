"""Flags of config dataclasses, parsed in a process of their own."""

import subprocess
import sys

import pytest
from absl import flags

from helix_jax.runs import define_flags

PROGRAM = """
import dataclasses
from helix_jax.runs import open_run, option
from helix_jax.runs.program import start_program

@dataclasses.dataclass(frozen=True)
class Config:
    workdir: str = option("", "where")
    rate: float = option(0.5, "a rate")
    layers: tuple[int, ...] = option((-1,), "a list")
    names: tuple[str, ...] = option(("a",), "another")
    fast: bool = option(False, "a switch")

def run(config):
    if config.workdir:
        folder = open_run(config.workdir, config).folder
    if config.fast:
        (folder / "half").touch()
    if config.rate < 0:
        raise ValueError("rate must not be negative, got %s." % config.rate)
    print(config)

if __name__ == "__main__":
    start_program(Config, run)
"""


def launch(*flags):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *flags],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_flags_become_the_config(tmp_path):
    done = launch(
        f"--workdir={tmp_path}/w", "--rate=2", "--layers=0,-3", "--names=b,c", "--fast"
    )
    assert done.returncode == 0, done.stderr
    assert "rate=2.0, layers=(0, -3), names=('b', 'c'), fast=True" in done.stdout


def test_help_lists_every_flag():
    shown = launch("--help").stdout
    for name in ("--workdir", "--rate", "--layers", "--[no]fast"):
        assert name in shown


def test_an_error_is_one_clear_line_and_a_status():
    done = launch("--rate=-1")
    assert done.returncode == 2
    assert done.stderr.startswith("error: rate must not be negative, got -1.0.")
    assert "Traceback" not in done.stderr


def test_a_failed_start_claims_no_folder_and_a_half_run_keeps_its(tmp_path):
    folder = tmp_path / "w"
    assert launch(f"--workdir={folder}", "--rate=-1").returncode == 2
    assert not folder.exists()
    assert launch(f"--workdir={folder}", "--rate=-1", "--fast").returncode == 2
    assert (folder / "half").exists()
    assert "made with other flags" in launch(f"--workdir={folder}").stderr
    assert (folder / "config.json").exists()


def test_a_list_of_numbers_takes_numbers_only():
    done = launch("--layers=0,last")
    assert done.returncode == 2
    assert "--layers=0,last: expected whole numbers" in done.stderr


def test_a_field_of_another_type_is_refused():
    import dataclasses

    @dataclasses.dataclass
    class Config:
        table: dict

    with pytest.raises(TypeError, match=r"Config\.table"):
        define_flags(Config, flags.FlagValues())
