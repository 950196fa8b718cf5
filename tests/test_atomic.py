"""Replacing files: what stays, what goes, what others may read, and real causes."""

import errno
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from helix_jax import atomic
from helix_jax.alignment import AffineMap, load_map, save_map
from helix_jax.array_files import (
    read_npz,
    read_safetensors,
    write_npz,
    write_safetensors,
)
from helix_jax.artefacts import load_artefact, save_artefact
from helix_jax.atomic import append_lines, is_passing, replaced_files, write_file
from helix_jax.errors import ArtefactError, PathError, ProtocolError

ROOT = Path(__file__).parents[1]
FILES = ["README.md", "arrays.safetensors", "config.json"]  # of a map


def save(folder, value, width=3):
    parts = np.full((2, width), value, np.float32), np.zeros(width, np.float32)
    record = {"source": {}, "target": {}, "penalty": float(value), "split": "fit"}
    return save_map(folder, AffineMap(*parts), **record)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# --- who may read, what stays


def test_others_may_read_what_was_saved(tmp_path):
    """As the umask says; a mode that somebody has set stays."""
    before = os.umask(0o027)
    try:
        save(tmp_path / "map", 1)
        write_safetensors(tmp_path / "a.safetensors", {"a": np.ones(2)})
        write_file(tmp_path / "b.json", "{}")
        os.chmod(tmp_path / "b.json", 0o604)
        write_file(tmp_path / "b.json", "[]")
    finally:
        os.umask(before)

    def mode(name):
        return stat.S_IMODE((tmp_path / name).stat().st_mode)

    assert mode("map") == 0o750
    assert mode("map/config.json") == mode("map/arrays.safetensors") == 0o640
    assert (mode("a.safetensors"), mode("b.json")) == (0o640, 0o604)


def test_links_and_files_of_others_stay(tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    (real / "notes").write_text("mine")
    (real / ".helix-partially").write_text("mine too")
    (tmp_path / "map").symlink_to("real")
    for value in (1, 2):
        save(tmp_path / "map", value)
    assert (tmp_path / "map").is_symlink()
    kept = [".helix-partially", *FILES, "notes"]
    assert names(real) == kept
    (tmp_path / "file").symlink_to(real / "notes")
    write_file(tmp_path / "file", "new")
    assert (tmp_path / "file").is_symlink()
    assert (real / "notes").read_text() == "new"


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(tmp_path):
    (tmp_path / f"{atomic.PARTIAL}{'0' * 16}").write_bytes(b"half of a fi")
    with atomic.replaced_file(tmp_path / "a") as living:
        living.write_text("a")
        write_file(tmp_path / "b", "b")
        assert names(tmp_path) == [living.name, "b"]
    assert names(tmp_path) == ["a", "b"]
    with pytest.raises(TypeError), atomic.replaced_file(tmp_path / "a") as failed:
        failed.write_text(b"never")
    assert (tmp_path / "a").read_text() == "a"
    assert names(tmp_path) == ["a", "b"]


def test_without_links_files_are_replaced_one_by_one(tmp_path, monkeypatch):
    """A file system that has neither symbolic nor hard links."""

    def refuse(*args, **kwargs):
        raise OSError(errno.EPERM, "not here")

    monkeypatch.setattr(os, "symlink", refuse)
    monkeypatch.setattr(os, "link", refuse)
    for value in (1, 2):
        save(tmp_path / "map", value)
        assert load_map(tmp_path / "map")[1]["penalty"] == value
    assert names(tmp_path / "map") == FILES
    monkeypatch.undo()
    monkeypatch.setattr(os, "link", refuse)  # as on many network disks
    save(tmp_path / "map", 3)
    assert load_map(tmp_path / "map")[1]["penalty"] == 3


# --- at once


@pytest.mark.slow
def test_a_reader_never_sees_two_versions(tmp_path):
    save(tmp_path / "map", 0, width=1)
    ended, errors, seen = threading.Event(), [], set()

    def read():
        try:
            while not ended.is_set():
                found, made_of = load_map(tmp_path / "map")
                value = made_of["penalty"]
                assert np.asarray(found.kernel).shape == (2, 1 + int(value) % 3)
                assert (np.asarray(found.kernel) == value).all()
                seen.add(value)
        except Exception as error:
            errors.append(error)

    def write(start):
        try:
            for value in range(start, 60, 2):
                save(tmp_path / "map", value, width=1 + value % 3)
        except Exception as error:
            errors.append(error)

    writers = [threading.Thread(target=write, args=(start,)) for start in (1, 2)]
    reader = threading.Thread(target=read)
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    ended.set()
    reader.join()
    assert errors == []
    assert len(seen) > 3
    assert names(tmp_path / "map") == FILES


# --- damage


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "config.json").unlink(),
        lambda folder: (folder / "config.json").write_text('{"kind": "affi'),
        lambda folder: (folder / "config.json").write_bytes(b"\xff\x00"),
        lambda folder: (folder / "arrays.safetensors").unlink(),
        lambda folder: (folder / "arrays.safetensors").write_bytes(b"\x08"),
        lambda folder: os.truncate(folder / "arrays.safetensors", 100),
    ],
)
def test_a_damaged_artefact_is_an_error_and_no_obstacle(tmp_path, damage):
    save(tmp_path / "map", 1)
    damage(tmp_path / "map")
    with pytest.raises(ArtefactError, match=str(tmp_path / "map")):
        load_map(tmp_path / "map")
    save(tmp_path / "map", 2)
    assert load_map(tmp_path / "map")[1]["penalty"] == 2


def test_arrays_of_another_version_are_refused(tmp_path):
    """As a copy that was cut off leaves them, or one flipped bit."""
    save(tmp_path / "map", 1)
    save(tmp_path / "other", 2)
    content = bytearray((tmp_path / "other" / "arrays.safetensors").read_bytes())
    (tmp_path / "map" / "arrays.safetensors").write_bytes(content)
    with pytest.raises(ArtefactError, match=r"config\.json was saved with another"):
        load_map(tmp_path / "map")
    content[-1] ^= 1
    (tmp_path / "other" / "arrays.safetensors").write_bytes(content)
    with pytest.raises(ArtefactError, match=r"config\.json was saved with another"):
        load_map(tmp_path / "other")


def test_artefacts_of_earlier_versions_load(tmp_path):
    """Whose config.json has no digest."""
    save(tmp_path / "map", 1)
    path = tmp_path / "map" / "config.json"
    config = json.loads(path.read_text())
    del config["arrays_sha256"]
    path.write_text(json.dumps(config))
    assert load_map(tmp_path / "map")[1]["penalty"] == 1


@pytest.mark.parametrize("config", ["[1]", '{"model_type": "llama"}', '"kind"', "3"])
def test_a_folder_of_something_else_is_not_replaced(tmp_path, config):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(config)
    with pytest.raises(ArtefactError, match="holds a None, expected a 'affine_map'"):
        save(folder, 1)
    (folder / "config.json").write_text("{half")
    (folder / "model.safetensors").write_text("weights")
    with pytest.raises(ArtefactError, match="not a folder of a 'affine_map'"):
        save(folder, 1)
    assert names(folder) == ["config.json", "model.safetensors"]


def test_what_json_cannot_hold_is_refused_before_anything_changes(tmp_path):
    save(tmp_path / "map", 1)
    with pytest.raises(ArtefactError, match=r"affine_map.*nan"):
        save_artefact(tmp_path / "map", "affine_map", {"penalty": float("nan")}, {})
    with pytest.raises(ArtefactError, match=r"affine_map.*not JSON serializable"):
        save_artefact(tmp_path / "map", "affine_map", {"x": {1}}, {})
    assert load_map(tmp_path / "map")[1]["penalty"] == 1


# --- array files


def test_safetensors_bytes_are_those_of_the_library(tmp_path):
    arrays = {
        "b": np.ones((3, 2), np.float32),
        "a": np.arange(5),
        'é"': np.zeros((0, 3)),
        "half": np.ones((2, 3), ml_dtypes.bfloat16).T,
        "scalar": np.float16(3),
        "t": np.array([True]),
        "f": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big": np.arange(4, dtype=">i4"),
    }
    plain = {
        name: np.ascontiguousarray(value).reshape(np.shape(value))
        for name, value in arrays.items()
    }
    plain["big"] = plain["big"].astype("<i4")
    for metadata in (None, {"format": "pt"}):
        write_safetensors(tmp_path / "a", arrays, metadata=metadata)
        assert (tmp_path / "a").read_bytes() == safetensors.numpy.save(plain, metadata)
    found = read_safetensors(tmp_path / "a", remedy="")
    for name, value in plain.items():
        np.testing.assert_array_equal(found[name], value)
    with pytest.raises(TypeError, match="cannot hold dtype"):
        write_safetensors(tmp_path / "a", {"x": np.array(["text"])})


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_a_cut_off_file_of_arrays_is_one_clear_error(tmp_path, kind):
    write, read = {
        "npz": (write_npz, read_npz),
        "safetensors": (write_safetensors, read_safetensors),
    }[kind]
    path = tmp_path / f"a.{kind}"
    write(path, {"a": np.arange(500.0), "b": np.ones(3)})
    whole = path.read_bytes()
    for length in (0, 1, 8, 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ProtocolError, match=rf"{path} is damaged .*; delete it\.$"):
            read(path, remedy="delete it", raises=ProtocolError)
    with pytest.raises(PathError, match="there is no such file"):
        read(tmp_path / "b", remedy="delete it")
    with pytest.raises(PathError, match="it is a folder, expected a file"):
        read(tmp_path, remedy="delete it")
    if kind == "npz":
        np.save(path.with_suffix(".npy"), np.ones(3))
        path.with_suffix(".npy").rename(path)
        with pytest.raises(PathError, match=r"not an \.npz file of arrays"):
            read(path, remedy="delete it")


# --- lines


def test_a_half_line_is_dropped_before_the_next(tmp_path):
    path = tmp_path / "a.jsonl"
    append_lines(path, ["1", "2"])
    path.write_bytes(path.read_bytes() + b"x" * 70_000)
    append_lines(path, ["3"])
    assert path.read_text() == "1\n2\n3\n"
    path.write_text("half")
    append_lines(path, ["1"])
    assert path.read_text() == "1\n"


def test_lines_that_do_not_fit_are_taken_back(tmp_path):
    path = tmp_path / "a.jsonl"
    script = """
import resource, sys
from helix_jax.atomic import append_lines, write_file
append_lines(sys.argv[1], ["1"])
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    append_lines(sys.argv[1], ["x" * 5000])
except ValueError as error:
    print(error)
try:
    write_file(sys.argv[1], "x" * 5000)
except ValueError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    line = f"{path} cannot be written: the file size limit is reached; raise it (ulimit"
    assert [one.startswith(line) for one in done.stdout.splitlines()] == [True, True]
    assert path.read_text() == "1\n"
    assert names(tmp_path) == ["a.jsonl"]


# --- causes


NOBODY = """
import os, sys
import numpy as np
from helix_jax.atomic import write_file
from helix_jax.alignment import AffineMap, save_map
os.setuid(65534)
folder, affine = sys.argv[1], AffineMap(np.ones((2, 2)), np.ones(2))
made_of = {"source": {}, "target": {}, "penalty": 1.0, "split": "fit"}
for act in (
    lambda: save_map(f"{folder}/map", affine, **made_of),
    lambda: write_file(f"{folder}/a", "b"),
):
    try:
        act()
    except ValueError as error:
        print(f"{type(error).__name__}: {error}")
"""


CAUSES = {
    "a file on the way": ("file/map", "a part of this path is a file, not a folder"),
    "a file in its place": ("file", "in the way|is a file, not a folder"),
    "too long": ("x" * 300, "the name is too long"),
    "no file system for it": ("/proc/helix/map", "there is no such file or folder"),
}


@pytest.mark.parametrize("name", CAUSES)
def test_the_path_and_the_real_cause_are_named(tmp_path, name):
    (tmp_path / "file").write_text("")
    given, cause = CAUSES[name]
    with pytest.raises(ArtefactError, match=rf"{given} cannot be .*({cause})") as found:
        save(tmp_path / given, 1)
    assert "room" not in str(found.value)
    assert "\n" not in str(found.value)


def test_no_permission_is_no_full_disk(tmp_path):
    if os.getuid():
        pytest.skip("needs root")
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o755)
    for parent in (tmp_path, *tmp_path.parents[:3]):
        os.chmod(parent, 0o755)
    done = subprocess.run(
        [sys.executable, "-c", NOBODY, str(folder)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    reason = "cannot be written: permission denied; choose a place that you may use."
    assert done.stdout.splitlines() == [
        f"ArtefactError: {folder / 'map'} {reason}",
        f"PathError: {folder / 'a'} {reason}",
    ]


def test_a_home_folder_is_found_and_a_url_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save("~/map", 1)
    assert load_map("~/map")[1]["penalty"] == 1
    assert names(tmp_path) == ["map"]
    for url in ("gs://bucket/map", "s3://bucket/map"):
        with pytest.raises(PathError, match="must be a local folder"):
            save(url, 1)
        with pytest.raises(PathError, match="must be a local folder"):
            load_map(url)
    with pytest.raises(PathError, match="no home folder of '~nobody-here'"):
        load_artefact("~nobody-here/map", "affine_map")


def test_a_failed_save_leaves_no_folder(tmp_path):
    with pytest.raises(TypeError), replaced_files(tmp_path / "a" / "b") as new:
        (new / "x").write_text(b"never")
    assert not (tmp_path / "a").exists()
    assert not any(is_passing(path.name) for path in tmp_path.rglob("*"))
