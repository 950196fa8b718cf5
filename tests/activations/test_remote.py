"""gs:// and s3:// paths, against a bucket on loopback.

A server that knows keys is in test_moto.py; the clouds' own are untested.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from helix_jax.activations import open_store
from helix_jax.errors import StoreError
from helix_jax.owners import this_process
from helix_jax.remote_lock import RemotePlace
from helix_jax.storage import open_folder

from .made import extracted, make_model, make_texts, make_tokenizer, store_bytes
from .object_server import ObjectServer

ROOT = Path(__file__).parents[2]


def run(path):
    return extracted(
        make_model(), make_tokenizer(), make_texts(20), path, max_tokens=12, window=8
    )


@pytest.mark.slow
def test_remote_objects_are_the_local_files(tmp_path):
    local = run(tmp_path / "s")
    with ObjectServer() as server:
        # TensorStore reads these once a process, so a new one has them.
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
            "TENSORSTORE_GCS_HTTP_URL": server.url,
            "GCE_METADATA_ROOT": "127.0.0.1:1",
            "AWS_ENDPOINT_URL": server.url,
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        done = subprocess.run(
            [sys.executable, "-m", "activations.test_remote", str(local.read().sum())],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert server.refused  # by the condition on the write itself
        for name in ("gs", "s3"):
            prefix = f"a folder/{name}/"
            found = {
                key.removeprefix(prefix): body
                for key, (body, _) in server.objects.items()
                if key.startswith(prefix)
            }
            assert found == store_bytes(tmp_path / "s")


@pytest.mark.parametrize("path", ["gs://x/y", "s3://x/y"])
def test_impossible_bucket(path):
    with pytest.raises(StoreError, match=r"cannot be opened .*gs://BUCKET/PATH"):
        open_store(path)


def contend(place):
    """A second writer is refused while a first one writes, and is let in after it."""
    folder = open_folder(place)
    owner = this_process("a test")
    first, second = RemotePlace(folder), RemotePlace(folder)
    seen = second.look()
    assert seen is None
    assert first.take(owner, seen)
    assert not second.take(owner, seen)
    held = second.look()
    assert held.owner == owner
    first.drop()
    assert not second.take(owner, held)
    assert second.take(owner, None)
    second.drop()
    assert first.look() is None


if __name__ == "__main__":
    for scheme in ("gs", "s3"):
        place = f"{scheme}://some-bucket/a folder/{scheme}"
        run(place)
        again = run(place)
        if str(again.read().sum()) != sys.argv[1]:
            raise SystemExit(f"{place} holds other states")
        contend(place)
