"""Several processes with a work directory in a bucket, on a real S3 server."""

import json
import signal
import socket
import subprocess
import sys
import time

import pytest

from ..activations.made import store_bytes
from ..activations.moto import Moto, bucket_environment, objects
from ..conftest import WIDE

FIT = [sys.executable, "-m", "experiments.fit", "--tiny", "--window=16"]
URL = "s3://bucket/runs/two"


def start_two(moto, cache, *words):
    """Both processes, on machines of their own: nothing of theirs is shared."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        place = f"127.0.0.1:{free.getsockname()[1]}"
    return [
        subprocess.Popen(
            [
                *FIT,
                *words,
                f"--coordinator={place}",
                "--processes=2",
                f"--process={one}",
            ],
            env=bucket_environment(moto.url) | {"XDG_CACHE_HOME": f"{cache}/{one}"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for one in range(2)
    ]


def ended(both):
    """Status and last line of each."""
    said = [one.communicate(timeout=600)[1].splitlines() for one in both]
    return [(one.returncode, (own or [""])[-1]) for one, own in zip(both, said)]


@pytest.mark.slow
@pytest.mark.parametrize(("stores", "pieces"), [("", "stores"), ("none", "streamed")])
def test_killed_and_gone_on_they_end_as_one_here(tmp_path, monkeypatch, stores, pieces):
    if not WIDE:
        pytest.skip("five minutes; HELIX_WIDE=1 runs it")
    here, own = tmp_path / "here", f"--stores={stores}"
    subprocess.run([*FIT, own, f"--workdir={here}"], check=True, capture_output=True)
    with Moto() as moto:

        def kept():
            found = moto.ask(f"/bucket?list-type=2&prefix=runs/two/{pieces}/")
            return found.count("</Key>")

        for victim in (1, 0):  # of the second, the next start waits for its lock
            both = start_two(moto, tmp_path / f"cache{victim}", own, f"--workdir={URL}")
            until = kept() + 3
            while kept() < until and all(one.poll() is None for one in both):
                time.sleep(0.05)
            both[victim].send_signal(signal.SIGKILL)
            found = ended(both)
            assert found[victim][0] == -signal.SIGKILL, found
            status, said = found[1 - victim]
            assert status == 2
            assert f"process {victim} ended without a word" in said
        both = start_two(moto, tmp_path / "cache", own, f"--workdir={URL}")
        assert [status for status, _ in ended(both)] == [0, 0]
        found = objects(URL, monkeypatch, moto.url)
    wanted = store_bytes(here)
    left_out = {"environment.json", ".helix-lock"}
    assert found.keys() - left_out == wanted.keys() - left_out
    assert json.loads(found["summary.json"]) == json.loads(wanted["summary.json"])
    differ = {name for name in wanted if found.get(name) != wanted[name]}
    assert differ <= left_out
