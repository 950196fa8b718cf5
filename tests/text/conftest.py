"""Where the shared real data lies; tests that need it skip when it is absent."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    folder = Path(os.environ.get("HELIX_SHARED", "../shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no shared data in {folder}; set HELIX_SHARED")
    return folder
