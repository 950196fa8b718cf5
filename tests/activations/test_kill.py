"""Killed with SIGKILL several times, an extraction ends with the same bytes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import SHARED, WIDE
from .kill_runner import TEXTS, WINDOW
from .made import store_bytes

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / "helix_jax" / "assets"
KILLS = 4 if WIDE else 2


def models() -> list[str]:
    """A pretrained model, else an embedded one, else a random one; or all (WIDE)."""
    folders = [SHARED / "models" / "stories260K"]
    folders += sorted(path.parent for path in ASSETS.glob("*/config.json"))[:1]
    found = [str(path) for path in folders if path.is_dir()] + ["tiny"]
    return found if WIDE else found[:1]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("model", models(), ids=lambda model: Path(model).name)
def test_same_bytes(tmp_path, model):
    seed = int.from_bytes(os.urandom(4), "little")
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "activations.kill_runner",
            model,
            str(tmp_path),
            str(KILLS),
            str(seed),
        ],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"seed {seed}: {done.stderr[-2000:]}"
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["status"] == 0
    windows = [own["windows"] for own in report["left"]]
    assert all(own["killed"] for own in report["left"])
    assert windows == sorted(windows)
    assert 0 < windows[-1] < TEXTS // WINDOW  # it was killed in the middle
    whole = store_bytes(tmp_path / "whole")
    killed = store_bytes(tmp_path / "killed")
    assert killed.keys() == whole.keys(), f"seed {seed}"
    differ = [name for name in whole if whole[name] != killed[name]]
    assert not differ, f"seed {seed}"
    assert json.loads(whole["metadata.json"])["complete"] is True
