"""One store, two writers: one writes, the other waits, nobody is told of damage."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from helix_jax.activations import open_store
from helix_jax.activations.store_lock import writing
from helix_jax.errors import StoreError
from helix_jax.storage import open_folder

from .made import extracted, make_texts, store_bytes

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kill", [False, True], ids=["both end", "one is killed"])
@pytest.mark.slow
def test_two_processes(tmp_path, kill):
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    words = [str(tmp_path), *(["kill"] if kill else [])]
    process = subprocess.Popen(
        [sys.executable, "-m", "activations.write_runner", *words],
        env={**os.environ, "PYTHONPATH": path},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.readline() == "begun\n"
    said = set()
    while process.poll() is None:  # who reads meanwhile is told what is
        try:
            read = open_store(tmp_path / "shared").read(-1)
            assert np.isfinite(read).all()
        except StoreError as error:
            said.add(str(error))
    out, errors = process.communicate()
    assert process.returncode == 0, errors[-2000:]
    ended = json.loads(out.splitlines()[-1])
    assert ended == {"holder": signal.SIGKILL if kill else 0, "other": [0]}
    assert not [one for one in said if "damaged" in one or "cannot" in one]
    assert any("it is being written by an extraction of " in one for one in said)
    assert store_bytes(tmp_path / "shared") == store_bytes(tmp_path / "whole")


def test_two_threads_and_a_store_in_memory(tiny):
    """A remote store has no kernel's lock: a condition on a write decides."""
    found, path = [], "memory://two/writers"

    def work():
        found.append(extracted(*tiny, make_texts(40), path, max_tokens=12, window=8))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first, second = found
    np.testing.assert_array_equal(first.read(), second.read())
    worked = [one.throughput.get("tokens", 0) for one in found]
    assert sorted(worked) == [0, first.counts["tokens"]]
    keys = open_folder(path).kvstore.list().result()
    assert not [key for key in keys if b"lock" in key]


def test_a_complete_store_is_read_where_nothing_can_be_written(tmp_path, tiny):
    def run():
        return extracted(*tiny, make_texts(20), tmp_path / "s", max_tokens=12)

    made = run()
    with writing(open_folder(tmp_path / "s")):  # it needs no lock
        np.testing.assert_array_equal(run().read(), made.read())


def test_what_fails_before_its_first_window_leaves_no_folder(tmp_path, tiny):
    with pytest.raises(ValueError, match="token_budget"):
        extracted(
            *tiny, make_texts(20), tmp_path / "s", max_tokens=12, token_budget="all"
        )
    assert list(tmp_path.iterdir()) == []
