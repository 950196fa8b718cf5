"""Files of embeddings through a map: every row once, whatever the format or the end."""

import json
import signal
import subprocess
import sys

import ml_dtypes
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from helix_jax.activations import load_embeddings
from helix_jax.activations.embedding_stream import open_vectors
from helix_jax.alignment import AffineMap, fit_confidence, from_batch, save_map
from helix_jax.array_files import read_safetensors, write_safetensors
from helix_jax.errors import ArtefactError, StoreError
from helix_jax.maps_numpy import read_map
from helix_jax.transfer import translation
from helix_jax.transfer.translated_parts import Part, write_part
from helix_jax.transfer.translation import make_translation, require_width, translate

DX, DY, ROWS, PART = 10, 6, 1000, 300
X = np.random.default_rng(0).normal(size=(ROWS, DX)).astype(np.float32)
IDS = [f"doc{row // 3}#{row % 3} é" for row in range(ROWS)]
LABELS = np.arange(ROWS, dtype=np.int64) % 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A map with a confidence, calibrated on rows like X."""
    rng = np.random.default_rng(1)
    one = AffineMap(
        rng.normal(size=(DX, DY)).astype("f4"), rng.normal(size=DY).astype("f4")
    )
    x = rng.normal(size=(600, DX))
    y = np.asarray(x @ one.kernel + one.bias + rng.normal(size=(600, DY)))
    own = fit_confidence(one, from_batch(x, y), (x, y), np.arange(600))
    place = tmp_path_factory.mktemp("maps") / "map"
    sides = {"source": {"model": "old"}, "target": {"model": "new"}}
    return save_map(place, one, **sides, penalty=None, split="fit", confidence=own)


def write_parquet(path, x=X, **columns):
    kind = columns.pop("kind", pyarrow.list_(pyarrow.float32()))
    table = {"id": IDS[: len(x)], "embedding": pyarrow.array(list(x), kind), **columns}
    pyarrow.parquet.write_table(pyarrow.table(table), path, row_group_size=170)
    return path


def write_npy(path, x=X, ids=IDS):
    np.save(path, x)
    if ids is not None:
        lines = "".join(f"{one}\n" for one in ids)
        path.with_suffix(".ids.txt").write_text(lines)
    return path


def write_tensors(path, x=X):
    metadata = {"ids": json.dumps(IDS)}
    write_safetensors(path, {"embeddings": x, "labels": LABELS}, metadata=metadata)
    return path


def run(path, folder, out, **settings):
    found = read_map(folder)
    settings = {"cosine": "cosine", "part_rows": PART} | settings
    return translate(open_vectors(path), make_translation(found, **settings), out)


def wanted(folder, x=X):
    found = read_map(folder)
    y = found.map(x.astype(np.float32))
    return y, np.stack(found.confidence.judge("cosine", x, y), axis=1)


def same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def parts(out, ending):
    found = sorted((out / "rows").glob(f"part-*{ending}"))
    assert len(found) == -(-ROWS // PART)
    return found


@pytest.mark.parametrize("kind", ["list", "large_list", "fixed"])
def test_parquet_keeps_its_columns_and_maps_one(kind, folder, tmp_path):
    number = pyarrow.float32()
    kinds = {
        "list": pyarrow.list_(number),
        "large_list": pyarrow.large_list(number),
        "fixed": pyarrow.list_(number, DX),
    }
    extra = pyarrow.array([None if i % 7 else f"t{i}" for i in range(ROWS)])
    path = write_parquet(
        tmp_path / "v.parquet", kind=kinds[kind], label=LABELS, t=extra
    )
    totals = run(path, folder, tmp_path / "out")
    table = pyarrow.concat_tables(
        pyarrow.parquet.read_table(one) for one in parts(tmp_path / "out", ".parquet")
    )
    names = ["cosine", "cosine_at_least", "cosine_outside"]
    assert table.column_names == ["id", "embedding", "label", "t", *names]
    assert table["id"].to_pylist() == IDS
    assert table["t"].combine_chunks().equals(extra)
    np.testing.assert_array_equal(table["label"].to_numpy(), LABELS)
    y, cosines = wanted(folder)
    same(np.array(table["embedding"].to_pylist()), y)
    same(np.stack([table[name] for name in names], axis=1), cosines)
    assert totals["rows"] == ROWS
    assert totals["cosine"] == pytest.approx(cosines[:, 0].sum(), rel=1e-4)
    store = load_embeddings(parts(tmp_path / "out", ".parquet")[1])
    assert store.ids == IDS[PART : 2 * PART]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_of_any_numbers(dtype, order, folder, tmp_path):
    x = np.asarray(4 * X).astype(dtype, order=order)
    path = write_npy(tmp_path / "v.npy", x, IDS if order == "C" else None)
    run(path, folder, tmp_path / "out")
    found = [np.load(one) for one in sorted((tmp_path / "out/rows").glob("*[0-9].npy"))]
    assert [len(one) for one in found] == [PART, PART, PART, ROWS - 3 * PART]
    y, cosines = wanted(folder, x)
    same(np.concatenate(found), y)
    found = [np.load(one) for one in parts(tmp_path / "out", ".cosines.npy")]
    same(np.concatenate(found), cosines)
    if order == "C":
        texts = [one.read_text() for one in parts(tmp_path / "out", ".ids.txt")]
        assert "".join(texts).splitlines() == IDS
        store = load_embeddings(tmp_path / "out" / "rows" / "part-00003.npy")
        assert store.ids == IDS[3 * PART :]


def test_safetensors_with_ids_and_labels(folder, tmp_path):
    x = X.astype(ml_dtypes.bfloat16)
    path = write_tensors(tmp_path / "v.safetensors", x)
    run(path, folder, tmp_path / "out", cosine="")
    files = parts(tmp_path / "out", ".safetensors")
    found = [read_safetensors(one, remedy="") for one in files]
    assert set(found[0]) == {"embeddings", "labels"}
    same(np.concatenate([one["embeddings"] for one in found]), wanted(folder, x)[0])
    np.testing.assert_array_equal(np.concatenate([o["labels"] for o in found]), LABELS)
    assert load_embeddings(files[2]).ids == IDS[2 * PART : 3 * PART]


@pytest.mark.parametrize("write", [write_parquet, write_npy, write_tensors])
@pytest.mark.parametrize(
    ("start", "size", "every"),
    [(0, 77, 100), (340, 64, 170), (999, 5, 999), (338, 2000, 169), (0, 9, 2000)],
)
def test_blocks_are_the_rows_from_any_row_on(write, start, size, every, tmp_path):
    endings = {write_parquet: "parquet", write_npy: "npy", write_tensors: "safetensors"}
    vectors = open_vectors(write(tmp_path / f"v.{endings[write]}"))
    assert (vectors.count, vectors.width, vectors.item_bytes) == (ROWS, DX, 4)
    blocks = list(vectors.blocks(start, size, every))
    assert max(len(block.x) for block in blocks) <= size
    np.testing.assert_array_equal(np.concatenate([one.x for one in blocks]), X[start:])
    whole = list(vectors.blocks(0, size, every))
    assert [one.start for one in blocks] == [
        one.start for one in whole if one.start >= start
    ]
    for block in blocks:
        last = block.start + len(block.x) - 1
        assert block.start // every == last // every
        ids = block.beside.get("id", block.beside.get("ids"))
        ids = ids.to_pylist() if hasattr(ids, "to_pylist") else ids
        assert ids == IDS[block.start : block.start + len(block.x)]


_KILLED = """
import os, signal, sys
from pathlib import Path
from helix_jax.activations.embedding_stream import open_vectors
from helix_jax.maps_numpy import read_map
from helix_jax.transfer import translation as module
from helix_jax.transfer.translation import make_translation, translate
path, folder, out = map(Path, sys.argv[1:])
vectors = open_vectors(path)
translation = make_translation(read_map(folder), cosine="cosine", part_rows=300)
module.BLOCK_BYTES = 2000

def dying(*settings):
    for block in vectors.reader(*settings):
        if (out / "done" / "part-00001.json").exists() or block.start >= 850:
            while not (out / "done" / "part-00001.json").exists():
                pass
            os.kill(os.getpid(), signal.SIGKILL)
        yield block

translate(vectors._replace(reader=dying), translation, out)
"""


@pytest.mark.parametrize("ending", ["parquet", "npy"])
def test_what_was_killed_goes_on_and_ends_with_the_same_bytes(
    ending, folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(translation, "BLOCK_BYTES", 2000)
    write = {"parquet": write_parquet, "npy": write_npy}[ending]
    path = write(tmp_path / f"v.{ending}")
    words = [sys.executable, "-c", _KILLED, path, folder, tmp_path / "out"]
    done = subprocess.run(words, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    out, before = tmp_path / "out", {}
    whole = {one.stem for one in (out / "done").glob("*.json")}
    assert {"part-00000", "part-00001"} <= whole < {f"part-0000{k}" for k in range(4)}
    for file in (out / "rows").glob("part-0000[01]*"):
        before[file] = file.stat().st_mtime_ns
    totals = run(path, folder, out)
    assert totals == run(path, folder, tmp_path / "fresh")
    assert {file: file.stat().st_mtime_ns for file in before} == before
    names = sorted(file.relative_to(out) for file in out.rglob("*") if file.is_file())
    for name in names:
        assert (out / name).read_bytes() == (tmp_path / "fresh" / name).read_bytes()
    assert not [name for name in names if "partial" in name.name]
    assert run(path, folder, out) == totals  # all is there: nothing is read


def with_bad(row, value):
    x = X.astype(np.float64)
    x[row, 3] = value
    return x


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
@pytest.mark.parametrize("row", [0, 731])
def test_a_bad_row_is_named_and_those_before_it_stay(value, row, folder, tmp_path):
    path = write_npy(tmp_path / "v.npy", with_bad(row, value))
    with pytest.raises(StoreError, match=rf"v\.npy: row {row} \(counting from 0\) hol"):
        run(path, folder, tmp_path / "out")
    assert len(list((tmp_path / "out" / "done").iterdir())) <= row // PART


def listed(row, value):
    rows = X.tolist()
    rows[row] = value
    return rows


@pytest.mark.parametrize(
    ("row", "value", "said"),
    [
        (700, [1.0] * 9, r"row 700 \(counting from 0\), 'doc233#1 é' has 9 numbers"),
        (5, None, r"row 5 \(counting from 0\), 'doc1#2 é' is null"),
        (
            701,
            [1.0, None] * 5,
            r"row 701 \(counting from 0\), 'doc233#2 é' holds a null",
        ),
    ],
)
def test_a_bad_list_is_named(row, value, said, folder, tmp_path):
    path = write_parquet(tmp_path / "v.parquet", listed(row, value))
    with pytest.raises(StoreError, match=said):
        run(path, folder, tmp_path / "out")


def test_what_cannot_be_read_in_blocks_is_refused(tmp_path):
    np.savez(tmp_path / "v.npz", embeddings=X)
    np.save(tmp_path / "words.npy", np.array(["a", "b"]))
    np.save(tmp_path / "empty.npy", X[:0])
    write_npy(tmp_path / "few.npy", X, IDS[:-1])
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and nothing")
    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), tmp_path / "a.parquet")
    for name, said in {
        "v.npz": r"cannot be read in blocks; .* npz as npy",
        "none.npy": "no such file",
        "words.npy": r"must be \[N, D\] numbers, got <U1\[2\]",
        "empty.npy": "expected rows of numbers, found none",
        "few.npy": "has 1000 rows and .* has 999 ids",
        "torn.parquet": "cannot be read as parquet",
        "a.parquet": r"has the columns \['a'\]; expected 'id', 'embedding'",
    }.items():
        with pytest.raises(StoreError, match=said):
            open_vectors(tmp_path / name)


def test_a_part_of_a_file_without_columns_is_not_written_as_parquet(tmp_path):
    vectors = open_vectors(write_npy(tmp_path / "v.npy"))
    renamed = vectors._replace(path=tmp_path / "v.parquet")
    with pytest.raises(StoreError, match=r"v\.parquet has no columns; it is not a Par"):
        write_part(tmp_path, renamed, Part(0, X, {}, []))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.ids.txt", "v.npy"]


@pytest.mark.slow
def test_what_does_not_fit_is_refused_with_what_to_do(folder, tmp_path):
    found = read_map(folder)
    other = open_vectors(write_npy(tmp_path / "y.npy", X[:, :DY]))
    with pytest.raises(StoreError, match=r"width 6, .* width 10 of old; these are of"):
        require_width(other, found)
    bare = save_map(
        tmp_path / "bare",
        AffineMap(np.ones((DX, DY)), np.ones(DY)),
        source={},
        target={},
        penalty=None,
        split="fit",
    )
    with pytest.raises(StoreError, match=r"experiments.fit.*or give --confidence=none"):
        make_translation(read_map(bare), cosine="cosine")
    with pytest.raises(ArtefactError, match=r"a coverage of 0\.9999 cannot be had"):
        make_translation(found, cosine="cosine", coverage=0.9999)
    named = write_parquet(tmp_path / "v.parquet", cosine=LABELS)
    with pytest.raises(StoreError, match="has a column 'cosine' already; rename"):
        run(named, folder, tmp_path / "out")
    assert run(named, folder, tmp_path / "out", cosine="")["rows"] == ROWS
