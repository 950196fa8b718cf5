"""Fixtures of the whole suite."""

import gc
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from experiments.shared.places import real_folder, real_models
from helix_jax.paths import user_cache

# What one test has compiled no other test, process, clone or run compiles again; most
# of the time of a first run is compilation. To start cold, remove the folder.
CACHE = user_cache("xla-tests")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

SHARED = Path(
    os.environ.get("HELIX_SHARED", Path(__file__).parents[2] / "shared")
).resolve()
REAL = real_folder()
WIDE = bool(os.environ.get("HELIX_WIDE"))

# Programs that run a few times are optimised little, here and in the processes that
# tests start: a trivial one compiles in 30 ms instead of 60. Left out are passes over
# machine code (LLVM's), but for pretrained models (`compiled_as_users_do`), and the
# newer of two ways to fuse loops; with HELIX_WIDE=1 nothing is.
FLAGS = os.environ.get("XLA_FLAGS", "")
if not WIDE and "fusion_emitters" not in FLAGS:
    FLAGS += " --xla_cpu_use_fusion_emitters=false"
    os.environ["XLA_FLAGS"] = FLAGS
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")


# Traces and models are hundreds of thousands of objects that live: Python's collector
# is called when so many are new, and not for every 700.
gc.set_threshold(50_000, *gc.get_threshold()[1:])


def with_devices(count: int) -> dict[str, str]:
    """The environment of a process that sees so many CPU devices."""
    flags = f"{FLAGS} --xla_force_host_platform_device_count={count}".strip()
    return {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}


def cases(some: Iterable, *more: Any) -> list:
    """Cases of a test: one of each kind; with HELIX_WIDE=1 more of the same kinds."""
    return [*some, *more] if WIDE else list(some)


def slow_but(quick: Iterable, some: Iterable) -> list:
    """Cases of a test; all but the quick ones are slow, together if not each."""
    quick = list(quick)
    return [
        one
        if one in quick
        else pytest.param(
            *one if isinstance(one, tuple) else (one,), marks=pytest.mark.slow
        )
        for one in some
    ]


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """(name, function that fills a new folder) -> the folder, made by one worker."""

    def get(name: str, make: Callable[[Path], None]) -> Path:
        base = tmp_path_factory.getbasetemp()
        several = "PYTEST_XDIST_WORKER" in os.environ
        folder = (base.parent if several else base) / name
        with FileLock(f"{folder}.lock"):
            if not folder.exists():
                fresh = tmp_path_factory.mktemp(name)
                make(fresh)
                fresh.rename(folder)
        return folder

    return get


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


@pytest.fixture(autouse=True)
def compiled_as_users_do(request):
    """Tests of pretrained models run what users run, with every optimisation."""
    if WIDE or "real_model" not in request.fixturenames:
        yield
        return
    import jax

    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def pytest_collection_modifyitems(items):
    """Files with slow tests first, so that no worker is left alone with one."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
