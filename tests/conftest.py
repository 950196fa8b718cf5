"""Fixtures of the whole suite."""

import os
from pathlib import Path

import pytest

from experiments.shared.places import real_folder, real_models

# What one test has compiled no other test, process or run compiles again; most of the
# time of a first run is compilation. `pytest --cache-clear` empties it.
CACHE = Path(__file__).parents[1] / ".pytest_cache" / "d" / "jax"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

SHARED = Path(
    os.environ.get("HELIX_SHARED", Path(__file__).parents[2] / "shared")
).resolve()
REAL = real_folder()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and models; tests that need it skip without it."""
    if not (SHARED / "data").is_dir() or not (SHARED / "models").is_dir():
        pytest.skip(f"no real data and models at {SHARED} (HELIX_SHARED)")
    return SHARED


@pytest.fixture(scope="session")
def real_model():
    """Name -> folder of a pretrained model; a test that asks for one skips without."""

    def folder(name: str) -> str:
        if name not in real_models():
            pytest.skip(f"no {name} in {REAL} (HELIX_REAL)")
        return real_models()[name]

    return folder


@pytest.fixture(scope="module", autouse=True)
def forget_compiled():
    """Drop what a module compiled: thousands of programs exhaust a process's maps."""
    yield
    import jax  # after the settings above

    jax.clear_caches()


@pytest.fixture
def compiled_quickly():
    """Programs that run a few times are optimised little: half the time to compile.

    What is left out are passes over machine code (LLVM's); tests of the same forward
    pass and decoder on pretrained models are compiled as users compile them.
    """
    import jax

    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
