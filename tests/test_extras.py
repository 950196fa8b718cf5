"""Without the extras: every program shows its help and says what it needs."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from experiments import programs
from helix_jax.errors import ExtraError
from helix_jax.extras import EXTRAS, explain_missing, optional_imports, require_packages

from .without import without

ROOT = Path(__file__).parents[1]
# Installed by what every program needs, such as the hub's client.
INSTALLED = {"httpx2", "uvloop"}
PAIR = ["--source=pebble-neox", "--target=pebble-llama"]
NAMES = {"scikit-learn": "sklearn"}  # packages that are imported by another name

BARE = """
import contextlib, io, json, runpy

ends = []
for name, *rest in json.loads(sys.argv[1]):
    said = io.StringIO()
    sys.argv[:] = [name, *rest]
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            runpy.run_module(f"experiments.{name}", run_name="__main__", alter_sys=True)
            status = 0
        except SystemExit as end:
            status = end.code or 0
        except BaseException as error:
            status = repr(error)
    ends.append([status, said.getvalue()])
print("ENDS", json.dumps(ends))
"""


def bare(folder: Path, *words: list[str]) -> list[tuple[int, str]]:
    """(exit status, what was printed) of programs run without any extra."""
    code = without(*set(EXTRAS) - INSTALLED) + BARE
    run = subprocess.run(
        [sys.executable, "-c", code, json.dumps(words)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert "ENDS " in run.stdout, run.stderr
    return [tuple(one) for one in json.loads(run.stdout.rpartition("ENDS ")[2])]


@pytest.mark.slow
def test_every_program_shows_its_help(tmp_path):
    names = programs()
    ends = bare(tmp_path, *([name, "--help"] for name in names))
    wrong = [
        (name, said[-300:]) for name, (status, said) in zip(names, ends) if status != 0
    ]
    assert not wrong
    assert all("--flagfile=FILE" in said for _, said in ends)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "package"),
    [
        (["encrypted", *PAIR, "--tiny", "--workdir=w"], "Pyfhel"),
        (["private_fit", "--tiny", "--workdir=w"], "Pyfhel"),
        (["private_search", "--tiny", "--workdir=w"], "Pyfhel"),
        (["encrypted_generation", "--tiny", "--workdir=w"], "Pyfhel"),
        (["attack", "--tiny", "--workdir=w"], "Pyfhel"),
        (["aggregate", "--tiny", "--workdir=w"], "cryptography"),
        (["certificates", "--folder=w"], "cryptography"),
        (["tokens", "--state=w", "--issue=ada"], "cryptography"),
        (["serve", "--state=w", "--plain_http", "--anonymous"], "uvicorn"),
        (["sum_session", "--new_identity=w"], "cryptography"),
        (["demo", "--workdir=w"], "cryptography"),
    ],
)
def test_a_program_says_what_to_install(tmp_path, words, package):
    ((status, said),) = bare(tmp_path, words)
    line = said.strip().splitlines()[-1]
    assert (status, line) == (
        2,
        f"error: the package {package} is not installed: pip install "
        f"'helix_jax[{EXTRAS[package]}]', or run `make crypto` in a checkout.",
    )
    assert not (tmp_path / "w").exists()  # no text was read


def test_packages_and_extras_are_those_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for package, named in EXTRAS.items():
        members = [one for name in named.split(",") for one in extras[name]]
        names = {one.partition("=")[0] for one in members}
        assert package in {NAMES.get(name, name) for name in names}, package
    for name in set(extras) - {"dev", "docs", "cuda", "tpu"}:
        assert {one.partition("=")[0] for one in extras[name]} <= set(EXTRAS)


def test_only_packages_of_extras_are_explained():
    torch = r"package torch .*pip install 'helix_jax\[torch\]'\.$"
    with pytest.raises(ExtraError, match=torch), optional_imports():
        raise ModuleNotFoundError("No module", name="torch.nn")
    with pytest.raises(ModuleNotFoundError, match="no_such_thing"), optional_imports():
        import no_such_thing  # noqa: F401
    require_packages("matplotlib")
    assert explain_missing(ImportError("cannot import name", name="torch")) is None
