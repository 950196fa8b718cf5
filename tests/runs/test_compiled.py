"""What a program compiles is kept, in the folder of the user or another."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from helix_jax.runs.compiled import keep_compiled

PROGRAM = """
import dataclasses, sys
import jax, jax.numpy as jnp
from helix_jax.runs.program import run_program

@dataclasses.dataclass(frozen=True)
class Config:
    size: int = 3

def run(config):
    jax.jit(lambda x: jnp.sin(x) + 1)(jnp.ones(config.size)).block_until_ready()
    print(jax.config.jax_compilation_cache_dir)

sys.exit(run_program(Config, run, sys.argv, doc="A tiny program."))
"""


@pytest.fixture
def given():
    """The folder of the variable, as JAX holds it; set back afterwards."""
    folder = jax.config.jax_compilation_cache_dir
    yield folder
    jax.config.update("jax_compilation_cache_dir", folder)


@pytest.fixture
def program(tmp_path):
    """() -> the finished process of a tiny program."""

    def start():
        kept = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
        home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
        home["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        return subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**kept, **home, "JAX_PLATFORMS": "cpu"},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        )

    return start


@pytest.mark.slow
def test_the_second_program_finds_what_the_first_compiled(program, tmp_path):
    folder = tmp_path / "cache" / "helix_jax" / "xla"
    assert program().stdout.strip() == str(folder)
    names = {path.name for path in folder.glob("*-cache")}
    assert names
    program()
    assert {path.name for path in folder.glob("*-cache")} == names


def test_the_variable_a_flag_and_off(given, tmp_path):
    assert str(keep_compiled("")) == given
    assert keep_compiled(str(tmp_path / "own")) == tmp_path / "own"
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "own")
    assert keep_compiled("off") is None
    assert jax.config.jax_compilation_cache_dir is None


def test_a_folder_that_cannot_be_written_is_one_warning(given, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert keep_compiled(str(tmp_path / "file" / "below")) is None
    assert jax.config.jax_compilation_cache_dir is None
    said = capsys.readouterr().err
    assert said.startswith("warning: compiled code cannot be kept")
    assert said.count("\n") == 1
