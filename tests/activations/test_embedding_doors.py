"""Files of embeddings: ids and labels stay what they are, or are refused by name."""

import codecs
import io
import json
import os
import struct
import zipfile

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from safetensors.numpy import save_file

from helix_jax.activations import load_embeddings
from helix_jax.errors import StoreError

ROWS = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def _npz(folder, **arrays):
    np.savez(folder / "v.npz", **{"embeddings": ROWS, "ids": np.arange(3), **arrays})
    return folder / "v.npz"


def _parquet(folder, **columns):
    table = {"embedding": ROWS.tolist(), "id": ["a", "b", "c"], **columns}
    pyarrow.parquet.write_table(pyarrow.table(table), folder / "v.parquet")
    return folder / "v.parquet"


def _safetensors(folder, ids, **arrays):
    save_file({"embeddings": ROWS, **arrays}, folder / "v.safetensors", {"ids": ids})
    return folder / "v.safetensors"


def _labelled(folder, values, kind):
    """The same labels in each format that holds them."""
    array = np.array(values, kind)
    ids = json.dumps(["a", "b", "c"])
    yield _npz(folder, labels=array)
    yield _safetensors(folder, ids, labels=array)
    yield _parquet(folder, label=pyarrow.array(array))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([2**31, 0, 1], "int64"),
        ([2**32 + 1, 0, 1], "int64"),
        ([2**63, 0, 1], "uint64"),
        ([2**32 - 1, 0, 1], "uint32"),
        ([-2, 0, 1], "int8"),
    ],
)
def test_labels_that_would_wrap_are_refused(tmp_path, values, kind):
    for path in _labelled(tmp_path, values, kind):
        message = rf"label of row 0 \(counting from 0\) is {values[0]}; class numbers"
        with pytest.raises(StoreError, match=message):
            load_embeddings(path)


@pytest.mark.parametrize("kind", ["int64", "uint32", "int32"])
def test_labels_up_to_the_largest_are_kept(tmp_path, kind):
    for path in _labelled(tmp_path, [2**31 - 1, 0, 7], kind):
        assert load_embeddings(path).labels.tolist() == [2**31 - 1, 0, 7]


@pytest.mark.parametrize(
    "values", [[1.0, 2.0, 3.0], [True, False, True], ["0", "1", "2"]]
)
def test_labels_of_other_types_are_refused(tmp_path, values):
    paths = [_npz(tmp_path, labels=np.array(values)), _parquet(tmp_path, label=values)]
    for path in paths:
        with pytest.raises(StoreError, match=r"labels must be 3 class numbers, got \S"):
            load_embeddings(path)
    with pytest.raises(StoreError, match=r"3 class numbers, got int64\[3, 1\]"):
        load_embeddings(_npz(tmp_path, labels=np.zeros((3, 1), int)))


@pytest.mark.parametrize(
    "ids",
    [
        ["1", "01", "1.0"],
        [" a", "a ", "a"],
        ["\u00e9", "e\u0301", "E\u0301"],
        ["a\u2028b", "a\x85b", "\ufeffa"],
        [2**53, 2**53 + 1, 2**62],
    ],
)
def test_ids_stay_what_they_are(tmp_path, ids):
    texts = [str(one) for one in ids]
    for path in (
        _npz(tmp_path, ids=np.array(ids)),
        _safetensors(tmp_path, json.dumps(ids)),
        _parquet(tmp_path, id=ids),
    ):
        assert load_embeddings(path).ids == texts
    np.save(tmp_path / "v.npy", ROWS)
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        content = "".join(f"{one}\r\n" for one in texts)
        (tmp_path / "v.ids.txt").write_bytes(content.encode(encoding))
        assert load_embeddings(tmp_path / "v.npy").ids == texts


def test_bytes_are_utf8(tmp_path):
    raw = [b"a", "\u00e9".encode(), b"c"]
    for path in (_npz(tmp_path, ids=np.array(raw)), _parquet(tmp_path, id=raw)):
        assert load_embeddings(path).ids == ["a", "\u00e9", "c"]
    with pytest.raises(StoreError, match=r"row 1 .*id b'\\xe9' is not UTF-8"):
        load_embeddings(_parquet(tmp_path, id=[b"a", b"\xe9", b"c"]))


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["a", None, "c"], r"row 1 \(counting from 0\): the id is empty"),
        (["a", "", "c"], r"row 1 .*: the id is empty"),
        ([1.0, 2.0, 3.0], r"row 0 .* string or an integer, found 1\.0 \(float\)"),
        ([True, False, None], r"row 0 .* found True \(bool\)"),
        ([[1], [2], [3]], r"row 0 .* found \[1\] \(list\)"),
    ],
)
def test_ids_that_would_be_guessed_are_refused(tmp_path, ids, message):
    for path in (_parquet(tmp_path, id=ids), _safetensors(tmp_path, json.dumps(ids))):
        with pytest.raises(StoreError, match=message):
            load_embeddings(path)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ('{"a": 1, "b": 2, "c": 3}', r"metadata 'ids': must be a JSON list .* dict"),
        ('"abc"', r"metadata 'ids': must be a JSON list of strings, found str"),
        ("a b c", r"metadata 'ids': malformed JSON"),
        ('["a", "\\ud800", "c"]', r"row 1 .* holds half of a surrogate pair"),
        (f"[1, {'9' * 5000}, 3]", r"metadata 'ids': JSON that cannot be held"),
    ],
)
def test_metadata_that_is_no_list_of_ids(tmp_path, ids, message):
    with pytest.raises(StoreError, match=message):
        load_embeddings(_safetensors(tmp_path, ids))


def test_arrays_of_ids_that_are_no_list(tmp_path):
    with pytest.raises(StoreError, match=r"ids must be one a row, got \[3, 2\]"):
        load_embeddings(_npz(tmp_path, ids=np.array([["a", "b"]] * 3)))
    with pytest.raises(StoreError, match=r"row 0 .* found 1j \(complex\)"):
        load_embeddings(_npz(tmp_path, ids=np.array([1j, 2j, 3j])))


def test_files_of_ids(tmp_path):
    np.save(tmp_path / "v.npy", ROWS)
    ids = tmp_path / "v.ids.txt"
    ids.write_bytes(b"a\nb\ncaf\xe9\n")
    with pytest.raises(StoreError, match=r"v\.ids\.txt, line 3: not UTF-8 .* iconv"):
        load_embeddings(tmp_path / "v.npy")
    ids.write_bytes("a\nb\nc\n".encode("utf-16-le"))
    with pytest.raises(StoreError, match=r"line 1: holds a NUL .* iconv -f utf-16le"):
        load_embeddings(tmp_path / "v.npy")
    ids.unlink()
    ids.mkdir()
    with pytest.raises(StoreError, match=r"v\.ids\.txt cannot be read: it is a folder"):
        load_embeddings(tmp_path / "v.npy")
    (tmp_path / "other.txt").write_text("x\ny\nz\n")
    with pytest.raises(StoreError, match=r"other.txt and .*v.npz hold different ids"):
        load_embeddings(_npz(tmp_path), ids=tmp_path / "other.txt")
    for bad, message in (
        ("gs://bucket/v.npy", r"a file of embeddings must be a local"),
        ("caf\udce9.npy", r"caf\\udce9.npy: this name is not UTF-8"),
    ):
        with pytest.raises(StoreError, match=message):
            load_embeddings(bad)


def test_line_breaks_in_ids_do_not_hide_in_the_fingerprint(tmp_path):
    marks = set()
    for ids in (["a\nb", "c", "d"], ["a", "b\nc", "d"], ["a", "b", "c\nd"]):
        path = _parquet(tmp_path, id=ids)
        marks.add(load_embeddings(path).fingerprint["ids"])
    assert len(marks) == 3
    # What it was: stores and maps made before stay valid.
    np.savez(tmp_path / "v.npz", embeddings=ROWS[:2], ids=np.array(["a", "\u00e9#1"]))
    store = load_embeddings(tmp_path / "v.npz")
    assert store.fingerprint["ids"] == "328eae812cf3b46a"


def test_two_parts_of_one_name_are_refused(tmp_path):
    path = _npz(tmp_path)
    buffer = io.BytesIO()
    np.save(buffer, np.array(["x", "y", "z"]))
    duplicate = pytest.warns(UserWarning, match="Duplicate name")
    with duplicate, zipfile.ZipFile(path, "a") as file:
        file.writestr("ids.npy", buffer.getvalue())
    with pytest.raises(StoreError, match=r"v.npz holds two arrays called 'ids'"):
        load_embeddings(path)

    names = ["id", "embedding", "label", "label"]
    columns = [["a"], [[1.0]], [0], [1]]
    arrays = [pyarrow.array(own) for own in columns]
    table = pyarrow.Table.from_arrays(arrays, names)
    pyarrow.parquet.write_table(table, tmp_path / "v.parquet")
    with pytest.raises(StoreError, match=r"v.parquet holds two columns called 'label'"):
        load_embeddings(tmp_path / "v.parquet")

    tensor = '"embeddings":{"dtype":"F32","shape":[3,4],"data_offsets":[0,48]}'
    for header in (
        f'{{"__metadata__":{{"ids":"[1,2,3]","ids":"[4,5,6]"}},{tensor}}}',
        f'{{"__metadata__":{{"ids":"[1,2,3]"}},{tensor},{tensor}}}',
    ):
        raw = header.encode() + b" " * (-len(header) % 8)
        content = struct.pack("<Q", len(raw)) + raw + ROWS.tobytes()
        (tmp_path / "v.safetensors").write_bytes(content)
        with pytest.raises(StoreError, match=r"v\.safetensors: .* stands twice in one"):
            load_embeddings(tmp_path / "v.safetensors")


def test_names_that_would_be_passed_over(tmp_path):
    with pytest.raises(StoreError, match=r"'label' must be called 'labels' here"):
        load_embeddings(_npz(tmp_path, label=np.arange(3)))
    path = _safetensors(tmp_path, "[1, 2, 3]", label=np.arange(3))
    with pytest.raises(StoreError, match=r"'label' must be called 'labels' here"):
        load_embeddings(path)
    with pytest.raises(StoreError, match=r"'labels' must be called 'label' here"):
        load_embeddings(_parquet(tmp_path, labels=[0, 1, 2]))
    with pytest.raises(StoreError, match=r"'Label ' must be called 'label' here"):
        load_embeddings(_parquet(tmp_path, **{"Label ": [0, 1, 2]}))
    with pytest.raises(StoreError, match=r"'Labels' must be called 'labels' here"):
        load_embeddings(_npz(tmp_path, Labels=np.arange(3)))


@pytest.mark.parametrize("value", [1e39, -1e300, 1e-46])
def test_numbers_that_float32_cannot_hold(tmp_path, value):
    rows = ROWS.astype(np.float64)
    rows[1] = value
    with pytest.raises(StoreError, match=r"row 1 .* float64 numbers that float32 cann"):
        load_embeddings(_npz(tmp_path, embeddings=rows))
    kept = np.where(np.arange(4) == 2, 1.0, 1e-46)  # rounding beside larger numbers
    rows[1] = kept
    store = load_embeddings(_npz(tmp_path, embeddings=rows))
    np.testing.assert_array_equal(store.read()[1], [0, 0, 1, 0])


@pytest.mark.parametrize("kind", ["complex64", "bool", "S4", "M8[s]", "V4"])
def test_what_is_no_number(tmp_path, kind):
    rows = np.zeros((3, 4), kind)
    with pytest.raises(StoreError, match=r"must be \[N, D\] numbers with N, D >= 1"):
        load_embeddings(_npz(tmp_path, embeddings=rows))


@pytest.mark.parametrize("kind", [">f4", "<f8", "int8", ">i8", "float16"])
def test_numbers_of_any_width_and_byte_order(tmp_path, kind):
    rows = np.round(ROWS * 10).astype(kind)
    store = load_embeddings(_npz(tmp_path, embeddings=rows))
    np.testing.assert_array_equal(store.read(), rows.astype(np.float32))


@pytest.mark.parametrize("cut", [0, 30, 200, -10])
@pytest.mark.parametrize("write", [_npz, _parquet])
def test_files_cut_short(tmp_path, write, cut):
    path = write(tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(StoreError, match=r"cannot be read as \w+ \(.*Write it again"):
        load_embeddings(path)


def test_files_of_another_format(tmp_path):
    _npz(tmp_path).rename(tmp_path / "w.npy")
    with pytest.raises(StoreError, match=r"w.npy holds several arrays; .* suffix .npz"):
        load_embeddings(tmp_path / "w.npy")
    np.save(tmp_path / "v.npy", ROWS)
    os.rename(tmp_path / "v.npy", tmp_path / "w.npz")
    with pytest.raises(StoreError, match=r"w.npz holds one array alone; .* .npy"):
        load_embeddings(tmp_path / "w.npz")
    (tmp_path / "x.npz").write_bytes(codecs.BOM_UTF8 + b"id,embedding\n")
    with pytest.raises(StoreError, match=r"x.npz cannot be read as npz"):
        load_embeddings(tmp_path / "x.npz")
    (tmp_path / "y.npz").mkdir()
    with pytest.raises(StoreError, match=r"y.npz cannot be read: it is a folder"):
        load_embeddings(tmp_path / "y.npz")
