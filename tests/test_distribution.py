"""What is built to be installed is complete, and runs where the repository is not."""

import os
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

from helix_jax import __version__

ROOT = Path(__file__).parents[1]
PACKAGES = ("helix_jax/", "experiments/")


def run(*words: str, cwd: Path, **environment: str) -> str:
    """The output of Python with some words."""
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout


@pytest.fixture(scope="module")
def tracked() -> set[str]:
    """The files of the repository, those that are not committed yet too."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("no repository here")
    return {name for name in listed.stdout.splitlines() if (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def built(tracked, tmp_path_factory) -> dict[str, Path]:
    """The archive of the sources, unpacked, and the wheel that is made of it."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("built")
    for name in tracked:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).symlink_to(ROOT / name)
    backend = "from setuptools import build_meta; build_meta"
    run("-c", f"{backend}.build_sdist({str(out)!r})", cwd=copy)
    (archive,) = out.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(out, filter="data")
    source = out / f"helix_jax-{__version__}"
    run("-c", f"{backend}.build_wheel({str(out)!r})", cwd=source)
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(out / "installed")
    return {"source": source, "installed": out / "installed"}


def files_in(folder: Path) -> set[str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix() for path in found}


@pytest.mark.slow
def test_the_wheel_has_the_files_of_the_packages_and_no_others(built, tracked):
    wanted = {name for name in tracked if name.startswith(PACKAGES)}
    found = files_in(built["installed"])
    information = {name for name in found if ".dist-info/" in name}
    # A sweep is run from the repository, by `launch`, with its settings.
    settings = {name for name in wanted if name.startswith("experiments/sweeps/")}
    assert found - information == wanted - settings
    assert "helix_jax/assets/pebble-llama/model.safetensors" in found
    assert "helix_jax/net/page/page.html" in found
    assert "helix_jax/py.typed" in found


def test_the_sources_have_all_that_tests_read(built, tracked):
    left_out = tracked - files_in(built["source"])
    assert left_out == {".ci/run", ".gitignore", ".pre-commit-config.yaml"}


def test_what_is_said_of_the_package_is_complete(built):
    (file,) = built["installed"].glob("*.dist-info/METADATA")
    said = message_from_string(file.read_text())
    assert (said["Name"], said["Version"]) == ("helix_jax", __version__)
    assert said["License-Expression"] == "Apache-2.0"
    assert said["Description-Content-Type"] == "text/markdown"
    assert said["Requires-Python"] == "<3.14,>=3.11"
    assert {"crypto", "net", "plots", "torch"} <= set(said.get_all("Provides-Extra"))
    (entry,) = built["installed"].glob("*.dist-info/entry_points.txt")
    assert "helix = experiments.__main__:main" in entry.read_text()
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {__version__}\n" in citation


@pytest.mark.slow
def test_programs_run_from_the_wheel(built, tmp_path):
    place = {"cwd": tmp_path, "PYTHONPATH": str(built["installed"])}
    assert "--source" in run("-m", "experiments", "classify", "--help", **place)
    ask = (
        "import experiments\n"
        "from helix_jax.models import load_model\n"
        "print(experiments.__file__, load_model('pebble-llama').spec)"
    )
    assert run("-c", ask, **place).startswith(str(built["installed"]))
