"""Packages load what is asked for, and the same as ever."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from helix_jax.lazy import LazyPackage

ROOT = Path(__file__).parents[1]
SLOW = """
datasets flax huggingface_hub jax matplotlib optax pyarrow safetensors scipy tensorstore
tokenizers torch transformers
""".split()
PACKAGES = [
    ".".join(path.parent.relative_to(ROOT).parts)
    for path in sorted((ROOT / "helix_jax").rglob("__init__.py"))
    if "lazy_names(__name__)" in path.read_text()
]


def loaded_by(code: str) -> list[str]:
    """The slow libraries that a new process has loaded once it has run some code."""
    ask = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", ask],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return [one for one in json.loads(done.stdout) if one in SLOW]


@pytest.mark.slow
def test_importing_every_package_loads_no_slow_library():
    assert len(PACKAGES) > 15
    assert loaded_by(f"import {', '.join(PACKAGES)}") == []
    # Else the test would pass whatever is loaded.
    assert "jax" in loaded_by("from helix_jax.alignment import apply_map")


@pytest.mark.parametrize("name", PACKAGES)
def test_every_name_is_there_and_listed(name):
    package = importlib.import_module(name)
    assert isinstance(package, LazyPackage)
    starred = {}
    exec(f"from {name} import *", starred)
    starred.pop("__builtins__")
    assert set(starred) == set(package.__all__)
    assert set(package.__all__) <= set(dir(package))
    assert all(starred[one] is getattr(package, one) for one in starred)


@pytest.mark.parametrize(
    ("package", "name"), [("alignment", "accumulate"), ("activations", "extract")]
)
@pytest.mark.slow
def test_a_function_goes_before_the_submodule_of_its_name(package, name):
    code = (
        f"import helix_jax.{package}.{name}\n"
        f"from helix_jax.{package} import {name}\n"
        f"import helix_jax.{package} as package\n"
        f"assert callable({name}) and package.{name} is {name}"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)


def test_a_name_that_is_not_there_is_refused_by_name():
    package = importlib.import_module("helix_jax.stats")
    with pytest.raises(AttributeError, match=r"helix_jax\.stats.*no attribute 'mode'"):
        package.mode  # noqa: B018 - the access is the test
    with pytest.raises(ImportError, match="mode"):
        exec("from helix_jax.stats import mode")
