"""Fixtures of the whole suite."""

import os
from pathlib import Path

import pytest

SHARED = Path(
    os.environ.get("HELIX_SHARED", Path(__file__).parents[2] / "shared")
).resolve()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and models; tests that need it skip without it."""
    if not (SHARED / "data").is_dir() or not (SHARED / "models").is_dir():
        pytest.skip(f"no real data and models at {SHARED} (HELIX_SHARED)")
    return SHARED
