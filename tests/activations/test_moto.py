"""Stores on a real S3 server: interrupted uploads, kills, keys that are wrong."""

import signal
import subprocess
import sys

import pytest

from .made import store_bytes
from .moto import Moto, bucket_environment, objects
from .relay import Relay
from .test_remote import run

AS_S3 = [sys.executable, "-m", "activations.test_moto"]


def start(url, place, *, key=("nobody", "nothing")):
    """The extraction to a place of the server, in a process of its own."""
    return subprocess.Popen(
        [*AS_S3, place],
        env=bucket_environment(url, key),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_within(moto, place, after):
    """Kill an extraction in the middle of what it sends; its exit status."""
    children = []
    with Relay(moto.port, after=after, cut=lambda: children[0].kill()) as relay:
        children.append(start(relay.url, place))
        return children[0].wait(120)


@pytest.fixture(scope="module")
def moto():
    with Moto() as server:
        yield server


def test_cut_and_killed_uploads_end_with_the_same_bytes(moto, tmp_path, monkeypatch):
    run(tmp_path / "s")
    expected = store_bytes(tmp_path / "s")
    cut = "s3://bucket/cut"
    with Relay(moto.port, after=7000, most=3) as relay:  # some 40 kB in all
        child = start(relay.url, cut)
        assert child.wait(120) == 0, child.stderr.read()[-2000:]
        assert relay.cuts == 3
    assert objects(cut, monkeypatch, moto.url) == expected
    killed = "s3://bucket/killed"
    for after in (9000, 16000, 3000):
        assert kill_within(moto, killed, after) == -signal.SIGKILL
    child = start(moto.url, killed)
    assert child.wait(120) == 0, child.stderr.read()[-2000:]
    assert objects(killed, monkeypatch, moto.url) == expected


def test_wrong_keys_and_buckets_are_named(moto):
    child = start(moto.url, "s3://no-bucket/s")
    _, said = child.communicate(timeout=120)
    assert child.returncode == 2
    said = said.splitlines()[-1]
    assert "there is no such bucket" in said
    assert "make it, or correct" in said
    key = moto.make_key()
    for name, secret, code in ((key[0], "wrong", 2), ("nobody", "x", 2), (*key, 0)):
        child = start(moto.url, "s3://bucket/own", key=(name, secret))
        _, said = child.communicate(timeout=120)
        assert child.returncode == code, said
        if code:
            said = said.splitlines()[-1]
            assert "the credentials do not allow it" in said
            assert "log in" in said


if __name__ == "__main__":
    from helix_jax.runs.program import run_guarded

    sys.exit(run_guarded(lambda: run(sys.argv[1])))
