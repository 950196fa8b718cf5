"""Flags of config dataclasses, as a program parses them."""

import dataclasses
import re
import subprocess
import sys
from typing import NamedTuple

import pytest
from absl import flags

from helix_jax.errors import HelixError, RunError
from helix_jax.runs import config_from_flags, define_flags, option
from helix_jax.runs.command_line import parse_flags
from helix_jax.runs.program import run_guarded, run_program

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


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def launch(capsys):
    """Flags -> what the program does with them, in this process."""
    names = {"__name__": "made"}
    exec(PROGRAM, names)

    def start(*words):
        argv = ["program", *words]
        status = run_program(names["Config"], names["run"], argv, doc="Made up.")
        return Done(status, *capsys.readouterr())

    return start


def test_flags_become_the_config_in_a_process_of_its_own(tmp_path):
    words = [f"--workdir={tmp_path}/w", "--rate=2", "--layers=0,-3", "--names=b,c"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words, "--fast"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "rate=2.0, layers=(0, -3), names=('b', 'c'), fast=True" in done.stdout


def test_help_lists_every_flag(launch):
    shown = launch("--help").stdout
    for name in ("--workdir", "--rate", "--layers", "--[no]fast"):
        assert name in shown


def test_an_error_is_one_clear_line_and_a_status(launch):
    done = launch("--rate=-1")
    assert done.returncode == 2
    assert done.stderr.startswith("error: rate must not be negative, got -1.0.")
    assert "Traceback" not in done.stderr


def test_a_failed_start_claims_no_folder_and_a_half_run_keeps_its(launch, tmp_path):
    folder = tmp_path / "w"
    assert launch(f"--workdir={folder}", "--rate=-1").returncode == 2
    assert not folder.exists()
    assert launch(f"--workdir={folder}", "--rate=-1", "--fast").returncode == 2
    assert (folder / "half").exists()
    assert "made with other flags" in launch(f"--workdir={folder}").stderr
    assert (folder / "config.json").exists()


def test_a_list_of_numbers_takes_numbers_only(launch):
    done = launch("--layers=0,last")
    assert done.returncode == 2
    assert "--layers=0,last: expected whole numbers" in done.stderr


def test_a_field_of_another_type_is_refused():
    @dataclasses.dataclass
    class Config:
        table: dict

    with pytest.raises(TypeError, match=r"Config\.table"):
        define_flags(Config, flags.FlagValues())


def test_lists_keep_what_is_between_their_commas():
    @dataclasses.dataclass(frozen=True)
    class Config:
        names: tuple[str, ...] = option((), "names")
        stops: tuple[str, ...] = option((), "texts", verbatim=True)
        layers: tuple[int, ...] = option((), "numbers")

    def parse(*words):
        known = flags.FlagValues()
        define_flags(Config, known)
        parse_flags(words, known)
        return config_from_flags(Config, known)

    found = parse('--names=a, "b,c"', "--stops=\n, .", "--layers= 0, -1")
    assert found == Config(("a", "b,c"), ("\n", " ."), (0, -1))
    assert parse("--names=", "--stops=", "--layers=") == Config()
    for words in (["--names=a,,b"], ["--names=a,"], ["--stops=a,"], ["--layers=1,,2"]):
        with pytest.raises(RunError, match=r"item is empty|whole numbers"):
            parse(*words)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device", "/data/x"), "/data/x .* disk is full"),
        (PermissionError(13, "Permission denied", "/data"), "/data .* permission"),
        (MemoryError(), "out of memory .*--max_tokens"),
        (RuntimeError("RESOURCE_EXHAUSTED: 9 GB"), "out of memory .*9 GB.*--limit"),
        (HelixError("two\n  lines\nof text"), "error: two lines of text$"),
    ],
)
def test_what_a_person_can_mend_is_one_line(error, said, capsys, monkeypatch):
    monkeypatch.delenv("HELIX_TRACEBACK", raising=False)

    def work():
        raise error

    assert run_guarded(work) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(said, line)


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch):
    with pytest.raises(KeyError):
        run_guarded(lambda: {}["x"])
    monkeypatch.setenv("HELIX_TRACEBACK", "1")
    with pytest.raises(ValueError, match="invalid literal"):
        run_guarded(lambda: int("x"))
