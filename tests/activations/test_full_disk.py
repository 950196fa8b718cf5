"""A disk that fills up while extracting: on a tiny tmpfs, and under a size limit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from helix_jax.activations import open_store
from helix_jax.errors import StoreError

from .made import extracted, make_model, make_texts, make_tokenizer, store_bytes

ROOT = Path(__file__).parents[2]


def run(pair, path):
    return extracted(
        *pair, make_texts(200), path, max_tokens=12, window=16, token_budget=64
    )


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 kB, where mounting is allowed."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip("mounting a small file system needs privileges")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk(tmp_path, tiny, small_disk):
    run(tiny, tmp_path / "whole")
    filler = small_disk / "filler"
    filler.write_bytes(bytes(210_000))
    full = (
        r"disk is full, [\d,]+ bytes needed and [\d,]+ bytes left .* intact: make room "
        "and run the same command again to resume"
    )
    for _ in range(2):  # still full: the same error, and what was safe stays safe
        with pytest.raises(StoreError, match=full):
            run(tiny, small_disk / "s")
    with pytest.raises(StoreError, match=r"incomplete \([1-9]\d* rows so far\)"):
        open_store(small_disk / "s")
    filler.unlink()
    resumed = run(tiny, small_disk / "s")
    assert 0 < resumed.throughput["tokens"] < resumed.counts["tokens"]
    assert store_bytes(small_disk / "s") == store_bytes(tmp_path / "whole")


@pytest.mark.slow
def test_file_size_limit(tmp_path, tiny):
    """Needs no privileges: files of a process may not exceed 1,000 bytes."""
    run(tiny, tmp_path / "whole")
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-m", "activations.test_full_disk", str(tmp_path / "s")],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "StoreError" in done.stderr
    assert "the file size limit is reached" in done.stderr
    assert "run the same command again to resume" in done.stderr
    with pytest.raises(StoreError, match="incomplete"):
        open_store(tmp_path / "s")
    run(tiny, tmp_path / "s")
    assert store_bytes(tmp_path / "s") == store_bytes(tmp_path / "whole")


if __name__ == "__main__":
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    # metadata.json has 700 bytes, a window of 16 rows of 16 float32 numbers 1,028.
    run((make_model(), make_tokenizer()), sys.argv[1])
