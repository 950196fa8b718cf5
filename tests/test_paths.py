"""One rule for every path that a person gives."""

import errno
from pathlib import Path

import pytest

from helix_jax.errors import PathError, StoreError
from helix_jax.paths import expand_path, explain_os_error, is_url, local_path, os_errors


def test_home_is_expanded_and_nothing_else(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RUN", "elsewhere")
    assert local_path("~/run") == tmp_path / "run"
    assert expand_path("~") == str(tmp_path)
    assert expand_path("a/~/b") == "a/~/b"
    assert expand_path("$RUN/~x") == "$RUN/~x"
    assert local_path(Path("a")) == Path("a")


@pytest.mark.parametrize("url", ["gs://bucket/~/a", "s3://b/$HOME", "memory://x/"])
def test_urls_stay_and_are_not_local(url):
    assert is_url(url)
    assert expand_path(url) == url
    with pytest.raises(PathError, match=r"--workdir must be a local .* the URL"):
        local_path(url, "--workdir")


def test_windows_drives_and_embedded_colons_are_no_urls():
    assert not is_url("c:/x")
    assert not is_url("dir/gs://b")


@pytest.mark.parametrize(
    ("given", "meant"),
    [("gs:/b/x", "gs://b/x"), ("s3:b/x", "s3://b/x"), ("file:/x", "file:///x")],
)
def test_a_url_with_a_slash_missing_is_no_local_folder(given, meant):
    with pytest.raises(PathError, match=f"write {meant}, or ./{given}"):
        local_path(given, "--workdir")
    assert expand_path(f"./{given}") == f"./{given}"
    assert expand_path("gsx:/b") == "gsx:/b"
    assert expand_path("data:v2/x") == "data:v2/x"


def test_unusable_paths_are_named():
    with pytest.raises(PathError, match="empty"):
        expand_path("")
    with pytest.raises(PathError, match="NUL"):
        expand_path("a\0b")
    with pytest.raises(PathError, match=r"no home folder of '~no-such-user'"):
        expand_path("~no-such-user/run")


def test_the_real_cause_and_room_only_on_a_full_disk(tmp_path):
    full = explain_os_error(OSError(errno.ENOSPC, "x"), "/data", "be written")
    assert full.startswith("/data cannot be written: the disk is full; make room")
    for code in (errno.EACCES, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR):
        assert "make room" not in explain_os_error(OSError(code, "x"), "/data")
    (tmp_path / "file").touch()
    with (
        pytest.raises(StoreError, match="cannot be made: a part of this path is a f"),
        os_errors(tmp_path, "be made", StoreError),
    ):
        (tmp_path / "file" / "below").mkdir()
