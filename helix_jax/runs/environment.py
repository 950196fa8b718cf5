"""The environment of a run: versions, commit, devices, machine, command."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import helix_jax
from helix_jax.processes import current

_RECORDED = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "numpy",
    "transformers",
    "tokenizers",
    "datasets",
    "tensorstore",
    "safetensors",
)


def environment() -> dict[str, Any]:
    """The content of environment.json."""
    import jax  # slow, and not needed to read flags

    versions: dict[str, str | None] = {"helix_jax": helix_jax.__version__}
    for name in _RECORDED:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "devices": [str(device) for device in jax.devices()],
        "processes": current().count,
        "versions": versions,
        **commit_of(Path(helix_jax.__file__).parent),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def commit_of(package: Path) -> dict[str, Any]:
    """{commit, changed} of a package that runs from its git checkout.

    Args:
      package: its folder.

    Returns:
      The commit, and whether tracked files differ from it; None for both if the package
      does not run from a checkout, or git is not installed. A checkout that merely
      contains the environment in which the package is installed does not count.
    """
    none = {"commit": None, "changed": None}
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return none
    commit = _git(package, "rev-parse", "HEAD")
    changes = _git(package, "status", "--porcelain", "--untracked-files=no")
    if commit is None or changes is None:
        return none
    return {"commit": commit.strip(), "changed": bool(changes.strip())}


def _git(folder: Path, *words: str) -> str | None:
    """The output of git; None if it fails or is not installed."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
