"""The index folder: what goes in comes out, whole or not at all."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import ml_dtypes
import numpy as np
import pytest

from helix_jax.errors import ArtefactError
from helix_jax.private.search import open_index, save_index
from helix_jax.private.search.records import read_record

from .conftest import BLOCK, make_texts, make_vectors

MODEL = {"name": "made up"}


@pytest.mark.parametrize("name", ["scores", "clusters"])
def test_an_index_holds_unit_rows_with_their_texts(indexes, name):
    index = indexes[name]
    rows = len(index.vectors)
    given, texts = make_vectors(rows), make_texts(rows)
    order = index.layout.order
    assert sorted(order) == list(range(rows))
    units = given / np.linalg.norm(given, axis=1, keepdims=True)
    np.testing.assert_allclose(index.vectors, units[order], atol=1e-6)
    for row in (0, 1, 2, 3, 4, rows - 1):
        found = read_record(index.name, row, index.records[row].tobytes())
        assert found == (texts["ids"][order[row]], texts["texts"][order[row]])
    assert max(index.layout.sizes) <= BLOCK
    assert sum(index.layout.sizes) == rows


def test_the_same_content_has_the_same_name_and_other_content_another(tmp_path):
    made = make_vectors(40)
    names = [
        open_index(save_index(tmp_path / str(i), rows, model=MODEL, texts=texts)).name
        for i, (rows, texts) in enumerate(
            [(made, ["a"] * 40), (made, ["a"] * 40), (-made, ["a"] * 40), (made, None)]
        )
    ]
    assert names[0] == names[1]
    assert len(set(names)) == 3


def test_vectors_of_bfloat16_are_taken(tmp_path):
    rows = make_vectors(40).astype(ml_dtypes.bfloat16)
    index = open_index(save_index(tmp_path / "index", rows, model=MODEL))
    same = save_index(tmp_path / "same", rows.astype(np.float64), model=MODEL)
    assert index.name == open_index(same).name


def test_clusters_of_one_row_are_no_more_than_the_rows(tmp_path):
    folder = save_index(
        tmp_path / "index",
        make_vectors(40),
        model=MODEL,
        clusters=True,
        block_rows=1,
        probes=2,
    )
    assert open_index(folder).layout.sizes.tolist() == [1] * 40


@pytest.mark.parametrize("file", ["vectors.npy", "records.npy", "arrays.safetensors"])
def test_a_damaged_file_is_refused_by_name(tmp_path, file):
    folder = save_index(tmp_path / "index", make_vectors(40), model=MODEL)
    path = folder / file
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match=f"{file} is damaged"):
        open_index(folder)
    path.unlink()
    with pytest.raises(ArtefactError, match=file):
        open_index(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "affine_map"}, "holds a 'affine_map', expected a 'search_index'"),
        ({"format": 99}, "format 99, expected 1"),
        ({"rows": 41}, "is damaged"),
        ({"name": "zz"}, "is damaged"),
        ({"block_rows": 3}, "above block_rows"),
        ({"clusters": True}, "is damaged"),
        ({"sha256": None}, "is damaged"),
    ],
)
def test_a_config_of_something_else_is_refused(tmp_path, change, message):
    folder = save_index(tmp_path / "index", make_vectors(40), model=MODEL)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ArtefactError, match=message):
        open_index(folder)


def test_rows_that_are_not_of_norm_1_are_refused_whatever_the_digests_say(tmp_path):
    folder = save_index(tmp_path / "index", make_vectors(40), model=MODEL)
    np.save(folder / "vectors.npy", np.load(folder / "vectors.npy") * 1.01)
    config = json.loads((folder / "config.json").read_text())
    content = (folder / "vectors.npy").read_bytes()
    config["sha256"]["vectors.npy"] = hashlib.sha256(content).hexdigest()
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ArtefactError, match="rows are not of norm 1"):
        open_index(folder)


def test_a_folder_of_something_else_is_neither_opened_nor_replaced(tmp_path):
    with pytest.raises(ArtefactError, match="is not a folder of a search index"):
        open_index(tmp_path)
    (tmp_path / "config.json").write_text('{"kind": "probe"}')
    with pytest.raises(ArtefactError, match="holds a 'probe'"):
        save_index(tmp_path, make_vectors(40), model=MODEL)


@pytest.mark.parametrize(
    ("vectors", "settings", "message"),
    [
        (np.zeros((3, 4)), {}, "row 0 has norm 0"),
        (np.full((3, 4), np.nan), {}, "row 0 has norm nan"),
        (np.ones(4), {}, r"shape \[N, d\], got \[4\]"),
        (np.ones((3, 4), int), {}, "need floats"),
        (np.ones((3, 4)), {"texts": ["a"]}, "expected 3 texts"),
        (np.ones((3, 4)), {"ids": ["a", "b", "a"]}, "the id 'a' occurs twice"),
        (np.ones((3, 4)), {"ids": ["a", "b", 3]}, "row 2 needs a string, got int"),
        (np.ones((3, 4)), {"texts": ["", "", "\ud800"]}, "row 2 is not UTF-8"),
        (np.ones((3, 4)), {"texts": ["", "x" * 16_385, ""]}, "row 1 has 16385 bytes"),
        (np.ones((3, 4)), {"block_rows": 0}, "block_rows must be from 1"),
        (np.ones((3, 4)), {"probes": 0, "clusters": True}, "probes must be from 1"),
        (
            np.broadcast_to(np.ones(4), (200_001, 4)),
            {"clusters": False},
            "200001 rows are more than the 200000",
        ),
    ],
)
def test_what_no_index_can_be_made_of_is_refused(tmp_path, vectors, settings, message):
    with pytest.raises((ValueError, TypeError), match=message):
        save_index(tmp_path / "index", vectors, model=MODEL, **settings)
    assert not (tmp_path / "index").exists()


KILLED = """
import sys
import numpy as np
from helix_jax.private.search import save_index
print("begun", flush=True)
save_index(sys.argv[1], np.ones((60_000, 64), np.float32), model={})
"""


@pytest.mark.parametrize("before", [False, True])
def test_a_killed_build_leaves_what_was_there_before(tmp_path, before):
    folder = tmp_path / "index"
    if before:
        name = open_index(save_index(folder, make_vectors(40), model=MODEL)).name
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder)], stdout=subprocess.PIPE
    )
    assert child.stdout.readline() == b"begun\n"
    while not list(tmp_path.glob("index/.helix-partial-*/new/records.npy")):
        assert child.poll() is None
        time.sleep(0.001)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    if before:
        assert open_index(folder).name == name
    else:
        with pytest.raises(ArtefactError, match="is not a folder of a search index"):
            open_index(folder)
    save_index(folder, make_vectors(30), model=MODEL)
    assert len(open_index(folder).vectors) == 30
    assert not list(folder.glob(".helix-partial-*"))
