"""Fixtures of the whole suite."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and models; tests that need it skip without it."""
    folder = Path(os.environ.get("HELIX_SHARED", "../shared"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (HELIX_SHARED)")
    return folder
