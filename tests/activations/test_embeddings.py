import json

import ml_dtypes
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from safetensors.numpy import save_file

from helix_jax.activations import join, load_embeddings
from helix_jax.errors import StoreError

ROWS = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
IDS = ["d/0", "d/1#a", "d/1#b", "é", "last"]
LABELS = [0, 1, 1, 0, 2]


def save_npy(folder, rows=ROWS, ids=IDS, labels=None):
    np.save(folder / "v.npy", rows)
    if ids is not None:
        (folder / "v.ids.txt").write_text("\n".join(ids) + "\n", encoding="utf-8")
    return folder / "v.npy"


def save_npz(folder, rows=ROWS, ids=IDS, labels=None):
    arrays = {"embeddings": rows}
    if ids is not None:
        arrays["ids"] = np.array(ids)
    if labels is not None:
        arrays["labels"] = np.array(labels)
    np.savez(folder / "v.npz", **arrays)
    return folder / "v.npz"


def save_safetensors(folder, rows=ROWS, ids=IDS, labels=None):
    arrays = {"embeddings": np.ascontiguousarray(rows)}
    if labels is not None:
        arrays["labels"] = np.array(labels)
    metadata = None if ids is None else {"ids": json.dumps(ids)}
    save_file(arrays, folder / "v.safetensors", metadata=metadata)
    return folder / "v.safetensors"


def save_parquet(folder, rows=ROWS, ids=IDS, labels=None):
    columns = {"embedding": [list(map(float, row)) for row in rows]}
    if ids is not None:
        columns["id"] = ids
    if labels is not None:
        columns["label"] = labels
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "v.parquet")
    return folder / "v.parquet"


SAVERS = [save_npy, save_npz, save_safetensors, save_parquet]


@pytest.mark.parametrize("save", SAVERS)
def test_round_trip(tmp_path, save):
    store = load_embeddings(save(tmp_path))
    np.testing.assert_allclose(store.read(), ROWS, rtol=1e-7)
    assert store.ids == IDS
    assert store.labels.tolist() == [-1] * 5
    assert (len(store), store.width) == (5, 4)
    np.testing.assert_allclose(
        np.concatenate(list(store.select([4, 0, 1]).rows(batch=2))), ROWS[[4, 0, 1]]
    )


@pytest.mark.parametrize("save", SAVERS[1:])
def test_labels(tmp_path, save):
    assert load_embeddings(save(tmp_path, labels=LABELS)).labels.tolist() == LABELS


def test_parquet_label_may_be_null(tmp_path):
    store = load_embeddings(save_parquet(tmp_path, labels=[0, None, 1, 1, 0]))
    assert store.labels.tolist() == [0, -1, 1, 1, 0]


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ml_dtypes.bfloat16])
def test_other_dtypes_read_as_float32(tmp_path, dtype):
    store = load_embeddings(save_safetensors(tmp_path, rows=ROWS.astype(dtype)))
    assert store.read().dtype == np.float32
    np.testing.assert_allclose(store.read(), ROWS, atol=0.02)


def test_formats_join_and_fingerprints_differ(tmp_path):
    stores = [load_embeddings(save(tmp_path)) for save in SAVERS]
    for store in stores[1:]:
        x, y = join(stores[0], store).read()
        np.testing.assert_allclose(x, y, rtol=1e-7)
    assert len({store.fingerprint["sha256"] for store in stores}) == 4
    changed = load_embeddings(save_npy(tmp_path, rows=ROWS + 1))
    assert changed.fingerprint != stores[0].fingerprint
    renamed = load_embeddings(save_npy(tmp_path, ids=["x", *IDS[1:]]))
    assert renamed.fingerprint["ids"] != stores[0].fingerprint["ids"]


def test_ids_by_name(tmp_path):
    path = save_npy(tmp_path, ids=None)
    other = tmp_path / "names.txt"
    other.write_text("\n".join("pqrst"))
    assert load_embeddings(path, ids=other).ids == list("pqrst")


@pytest.mark.parametrize("save", SAVERS[:3])
def test_missing_ids(tmp_path, save):
    with pytest.raises(
        StoreError,
        match=r"without ids: expected one id a line in .*"
        r"v\.ids\.txt",
    ):
        load_embeddings(save(tmp_path, ids=None))


def test_parquet_without_ids(tmp_path):
    with pytest.raises(StoreError, match=r"columns \['embedding'\]; expected 'id'"):
        load_embeddings(save_parquet(tmp_path, ids=None))


@pytest.mark.parametrize("save", SAVERS)
def test_repeated_id(tmp_path, save):
    with pytest.raises(StoreError, match=r"holds the id 'd/0' more than once"):
        load_embeddings(save(tmp_path, ids=[*IDS[:4], "d/0"]))


@pytest.mark.parametrize("save", SAVERS)
def test_nan(tmp_path, save):
    rows = ROWS.copy()
    rows[3, 1] = np.nan
    with pytest.raises(StoreError, match=r"row 3 .*holds NaN or infinite"):
        load_embeddings(save(tmp_path, rows=rows))


def test_ids_and_rows_must_match(tmp_path):
    with pytest.raises(StoreError, match=r"has 5 rows and .*v\.ids\.txt has 3 ids"):
        load_embeddings(save_npy(tmp_path, ids=["a", "b", "c"]))
    with pytest.raises(StoreError, match=r"id of row 1 is empty"):
        load_embeddings(save_npy(tmp_path, ids=["a", "", "c", "d", "e"]))


def test_ragged(tmp_path):
    ragged = [[1.0, 2.0], [1.0, 2.0], [3.0]]
    with pytest.raises(StoreError, match=r"ragged: .*'d/1#b' has 1 numbers, .* has 2"):
        load_embeddings(save_parquet(tmp_path, rows=ragged, ids=IDS[:3]))
    objects = np.empty(3, object)
    objects[:] = ragged
    with pytest.raises(StoreError, match=r"read as npy .*Its rows may be ragged"):
        load_embeddings(save_npy(tmp_path, rows=objects, ids=None))
    with pytest.raises(StoreError, match=r"read as npz .*Its rows may be ragged"):
        load_embeddings(save_npz(tmp_path, rows=objects))


@pytest.mark.parametrize(
    "rows", [ROWS[0], ROWS[None], ROWS[:0], np.array([["a", "b"]]), ROWS > 0]
)
def test_not_a_matrix_of_numbers(tmp_path, rows):
    with pytest.raises(StoreError, match=r"must be \[N, D\] numbers"):
        load_embeddings(save_npy(tmp_path, rows=rows))


@pytest.mark.parametrize("suffix", ["npy", "npz", "safetensors", "parquet"])
def test_damaged(tmp_path, suffix):
    path = tmp_path / f"v.{suffix}"
    path.write_bytes(b"\x00nonsense")
    with pytest.raises(StoreError, match=rf"v\.{suffix} cannot be read as {suffix}"):
        load_embeddings(path)


def test_no_file_or_format(tmp_path):
    with pytest.raises(StoreError, match="there is no file"):
        load_embeddings(tmp_path / "v.npy")
    with pytest.raises(StoreError, match=r"v\.csv is not a file of embeddings; .*npz"):
        load_embeddings(tmp_path / "v.csv")


def test_wrong_names(tmp_path):
    np.savez(tmp_path / "v.npz", vectors=ROWS, ids=np.array(IDS))
    with pytest.raises(StoreError, match=r"arrays \['ids', 'vectors'\]; expected"):
        load_embeddings(tmp_path / "v.npz")
    save_file({"a": ROWS, "b": ROWS}, tmp_path / "v.safetensors")
    with pytest.raises(StoreError, match=r"tensors \['a', 'b'\]; expected"):
        load_embeddings(tmp_path / "v.safetensors")


def test_labels_that_are_none(tmp_path):
    with pytest.raises(StoreError, match=r"labels must be 5 class numbers, got float"):
        load_embeddings(save_npz(tmp_path, labels=[0.5] * 5))
