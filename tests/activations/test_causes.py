"""Why a store cannot be written or read: the real cause, never "make room" for all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from helix_jax.activations import open_store
from helix_jax.errors import PathError, StoreError

from .made import extracted, make_model, make_texts, make_tokenizer
from .object_server import ObjectServer

ROOT = Path(__file__).parents[2]


def run(path, *, fingerprint="made"):
    return extracted(
        make_model(),
        make_tokenizer(),
        make_texts(20),
        path,
        max_tokens=12,
        window=8,
        text_fingerprint=fingerprint,
    )


CAUSES = {
    "a file": ("file", "is a file|in the way"),
    "below a file": ("file/s", "a part of this path is a file, not a folder"),
    "too long": ("x" * 300, "the name is too long"),
    "nowhere": ("/proc/helix/s", "there is no such file or folder"),
}


@pytest.mark.parametrize("name", CAUSES)
def test_the_cause_is_named(tmp_path, name):
    (tmp_path / "file").write_text("")
    given, cause = CAUSES[name]
    with pytest.raises(StoreError, match=cause) as found:
        run(tmp_path / given)
    assert given in str(found.value)
    assert "room" not in str(found.value)
    with pytest.raises(StoreError, match=given):
        open_store(tmp_path / given)


def test_a_fingerprint_that_json_cannot_hold(tmp_path):
    for wrong in ({1, 2}, float("nan"), object()):
        with pytest.raises(StoreError, match=r"metadata\.json cannot be written: "):
            run(tmp_path / "s", fingerprint=wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    run("~/s")
    assert len(open_store("~/s")) == len(open_store(tmp_path / "s")) == 20
    with pytest.raises(PathError, match="no home folder of '~nobody-here'"):
        open_store("~nobody-here/s")
    with pytest.raises(PathError, match="a path is empty"):
        open_store("")


@pytest.mark.slow
def test_users_without_rights_and_buckets_without_them(tmp_path):
    """In a process of its own, without privileges, with buckets on loopback."""
    if os.getuid():
        pytest.skip("needs root")
    for parent in (tmp_path, *tmp_path.parents[:3]):
        os.chmod(parent, 0o755)
    run(tmp_path / "s")
    run(tmp_path / "complete")
    metadata = tmp_path / "s" / "metadata.json"
    metadata.write_text(
        metadata.read_text().replace('"complete": true', '"complete": false')
    )
    for path in (tmp_path / "complete" / "layers").rglob("c/0/0"):
        path.chmod(0)
    with ObjectServer() as server:
        done = subprocess.run(
            [sys.executable, "-m", "activations.test_causes", str(tmp_path)],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
                "TENSORSTORE_GCS_HTTP_URL": server.url,
                "GCE_METADATA_ROOT": "127.0.0.1:1",
                "AWS_ENDPOINT_URL": server.url,
                "AWS_ACCESS_KEY_ID": "nobody",
                "AWS_SECRET_ACCESS_KEY": "nothing",
                "AWS_EC2_METADATA_DISABLED": "true",
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-2000:]
    said = done.stdout.splitlines()
    for line, words in zip(
        said,
        [
            ("s cannot be written: permission denied",),
            ("new cannot be written: permission denied",),
            ("layers/2 cannot be read", "permission denied"),
            ("gs://forbidden-bucket/s", "the credentials do not allow it", "log in"),
            ("gs://missing-bucket/s", "there is no such bucket", "correct its name"),
            ("s3://forbidden-bucket/s", "the credentials do not allow it", "log in"),
            ("s3://missing-bucket/s", "there is no such bucket", "correct its name"),
            ("s3://full-bucket/s", "the bucket has no room left", "have the quota"),
            ("s3://quota-bucket/s", "the bucket has no room left", "have the quota"),
        ],
        strict=True,
    ):
        assert all(word in line for word in words), line
        assert "room" not in line or "full" in line or "quota" in line
        assert "damaged" not in line


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    os.setuid(65534)

    buckets = [
        f"{scheme}://{name}-bucket/s"
        for scheme in ("gs", "s3")
        for name in ("forbidden", "missing")
    ] + ["s3://full-bucket/s", "s3://quota-bucket/s"]
    for act in (
        lambda: run(folder / "s"),
        lambda: run(folder / "new"),
        lambda: open_store(folder / "complete").read(),
        *(lambda place=place: run(place) for place in buckets),
    ):
        try:
            act()
            print("nothing")
        except StoreError as error:
            print(str(error).replace("\n", " "))
