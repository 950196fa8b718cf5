"""Killed at any step, a saver leaves the old version or the new one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from helix_jax.atomic import is_passing

from .savers import NEW, NEXT, OLD, SAVERS

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Folder SAVER/STEP of what each kill left."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    out = tmp_path_factory.mktemp("killed")
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-m", "savers", str(out)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return out


@pytest.mark.parametrize("fresh", [False, True], ids=["over an old one", "fresh"])
@pytest.mark.parametrize("name", SAVERS)
def test_every_step(killed, name, fresh):
    save, load, _ = SAVERS[name]
    folders = sorted(
        (killed / (f"FRESH-{name}" if fresh else name)).iterdir(),
        key=lambda folder: int(folder.name),
    )
    assert len(folders) > 2
    before = None if fresh else OLD
    found = [load(folder) for folder in folders]
    switch = found.index(NEW)  # one instant: all before are old, all after are new
    assert found == [before] * switch + [NEW] * (len(found) - switch)
    assert switch > 0
    for folder in folders:
        save(folder, NEXT)
        assert load(folder) == NEXT
        left = [path for path in folder.rglob("*") if is_passing(path.name)]
        links = [path for path in folder.rglob("*") if path.is_symlink()]
        assert left == []
        assert [path.name for path in links] == (["probe"] if name == "probe" else [])
