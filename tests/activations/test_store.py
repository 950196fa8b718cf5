import json

import numpy as np
import pytest

from helix_jax.activations import open_store
from helix_jax.activations.window_texts import Counts
from helix_jax.activations.writer import DTYPES, Window, begin_store
from helix_jax.errors import FingerprintError, StoreError
from helix_jax.storage import open_folder

from .made import extracted, make_texts, store_bytes

WIDTH = 5
RECORD = {"model": "m", "layers": [1, 4], "pooling": "mean", "text": "t"}
LAYOUT = {"chunk_rows": 4, "window_texts": 8}
STATES = np.random.default_rng(0).normal(size=(2, 19, WIDTH)).astype(np.float32)


def write(path, dtype="float32", *, finish=True, windows=3):
    """19 rows in windows of 8, 8 and 3."""
    writer = begin_store(
        open_folder(path),
        fingerprint=RECORD,
        new_layout=lambda: LAYOUT,
        requested={},
        arrays={f"layers/{layer}": (dtype, WIDTH) for layer in (1, 4)},
    )
    for number in range(windows):
        rows = slice(8 * number, min(8 * number + 8, 19))
        part = STATES[:, rows].astype(DTYPES[dtype])
        ids = [f"t{row}" for row in range(19)[rows]]
        count = len(ids)
        writer.append(
            Window(
                number,
                rows.start,
                ids,
                [None, *[7] * (len(ids) - 1)],
                np.full(len(ids), 3),
                dict(zip((1, 4), part)),
                None,
                Counts(count, count, count, 3 * count),
            )
        )
    if finish:
        writer.finish(windows)


@pytest.mark.parametrize("dtype", list(DTYPES))
def test_round_trip(tmp_path, dtype):
    write(tmp_path / "s", dtype)
    store = open_store(tmp_path / "s", expect=RECORD)
    assert len(store) == 19
    assert (store.width, store.layers) == (WIDTH, (1, 4))
    assert store.ids == [f"t{row}" for row in range(19)]
    assert store.labels.tolist() == [-1 if i % 8 == 0 else 7 for i in range(19)]
    assert store.counts == {
        "texts": 19,
        "rows": 19,
        "tokens": 57,
        "truncated": 0,
        "empty": 0,
    }
    want = STATES.astype(DTYPES[dtype]).astype(np.float32)
    for place, layer in enumerate((1, 4)):
        got = store.read(layer)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, want[place])
    np.testing.assert_array_equal(store.read(-1), want[1])
    itemsize = DTYPES[dtype].itemsize
    chunk = (tmp_path / "s" / "layers" / "4" / "c" / "0" / "0").stat().st_size
    assert chunk == 4 * WIDTH * itemsize + 4  # plain rows and a checksum


@pytest.mark.parametrize("batch", [1, 4, 7, 19, 100])
def test_rows_in_batches(tmp_path, batch):
    write(tmp_path / "s")
    parts = list(open_store(tmp_path / "s").rows(1, batch=batch))
    assert [len(part) for part in parts[:-1]] == [batch] * (len(parts) - 1)
    np.testing.assert_array_equal(np.concatenate(parts), STATES[0])


def test_select(tmp_path):
    write(tmp_path / "s")
    store = open_store(tmp_path / "s")
    chosen = np.array([17, 3, 3, 12, 0])
    view = store.select(chosen)
    np.testing.assert_array_equal(view.read(4), STATES[1][chosen])
    assert view.ids == [f"t{row}" for row in chosen]
    np.testing.assert_array_equal(view.labels, store.labels[chosen])
    again = view.select(np.array([True, False, False, True, True]))
    np.testing.assert_array_equal(again.read(4), STATES[1][[17, 12, 0]])
    np.testing.assert_array_equal(
        np.concatenate(list(store.select(np.arange(5, 15)).rows(1, batch=3))),
        STATES[0][5:15],
    )
    with pytest.raises(ValueError, match=r"rows must be 0\.\.4, got 0\.\.5"):
        view.select([0, 5])
    with pytest.raises(ValueError, match="a mask must have 5 entries"):
        view.select(np.ones(4, bool))


def test_memory_store_equals_files(tmp_path):
    write(tmp_path / "s")
    write("memory://twin/s")
    folder = open_folder("memory://twin/s")
    keys = [key.decode() for key in folder.kvstore.list().result()]
    found = {key: folder.kvstore.read(key).result().value for key in keys}
    assert found == store_bytes(tmp_path / "s")
    np.testing.assert_array_equal(open_store("memory://twin/s").read(4), STATES[1])


def test_wrong_layer(tmp_path):
    write(tmp_path / "s")
    store = open_store(tmp_path / "s")
    for layer in (2, None, -3):
        with pytest.raises(StoreError, match=rf"layers \[1, 4\], asked for {layer}"):
            store.read(layer)


def test_other_fingerprint_names_both(tmp_path):
    write(tmp_path / "s")
    expect = {**RECORD, "model": "n"}
    with pytest.raises(FingerprintError, match=r"model: 'm' against 'n'"):
        open_store(tmp_path / "s", expect=expect)
    with pytest.raises(FingerprintError, match=r"the store in [^\n]*\n  model: 'm'"):
        begin_store(
            open_folder(tmp_path / "s"),
            fingerprint=expect,
            new_layout=dict,
            requested={},
            arrays={},
        )


def test_incomplete_store_says_how_to_resume(tmp_path):
    write(tmp_path / "s", finish=False, windows=2)
    with pytest.raises(StoreError, match=r"incomplete \(16 rows so far\).*resumes"):
        open_store(tmp_path / "s")


def test_nothing_there(tmp_path):
    with pytest.raises(StoreError, match=r"no activation store in .*nowhere"):
        open_store(tmp_path / "nowhere")
    with pytest.raises(StoreError, match=r"cannot be opened .*s3://BUCKET/PATH"):
        open_store("ftp://somewhere")


def test_no_texts_at_all(tmp_path):
    with pytest.raises(StoreError, match="gave no text at all"):
        write(tmp_path / "s", windows=0)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("metadata.json", b"{", "metadata.json is damaged"),
        ("metadata.json", b"{}", "not an activation store"),
        ("texts/00000001.json", None, "00000001.json is missing or damaged"),
        ("layers/4/c/1/0", None, "layers/4 cannot be read .*damaged"),
        ("layers/4/c/1/0", b"short", "layers/4 cannot be read .*damaged"),
        ("layers/4/zarr.json", None, "layers/4 cannot be opened"),
    ],
)
def test_damage_is_an_error(tmp_path, file, content, message):
    write(tmp_path / "s")
    path = tmp_path / "s" / file
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(StoreError, match=message):
        open_store(tmp_path / "s").read(4)


def test_a_flipped_bit_is_an_error(tmp_path):
    write(tmp_path / "s")
    path = tmp_path / "s" / "layers" / "1" / "c" / "2" / "0"
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    path.write_bytes(content)
    store = open_store(tmp_path / "s")
    assert np.isfinite(store.read(4)).all()
    with pytest.raises(StoreError, match="layers/1 cannot be read"):
        store.read(1)


def test_newer_format(tmp_path):
    write(tmp_path / "s")
    path = tmp_path / "s" / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(StoreError, match="has format 99, this version reads 1"):
        open_store(tmp_path / "s")


def test_token_rows(tmp_path, tiny):
    texts = make_texts(20)
    store = extracted(
        *tiny, texts, tmp_path / "s", pooling="token", max_tokens=16, window=8
    )
    assert len(store) == store.counts["tokens"] == store.lengths.sum()
    assert store.row_starts[-1] == len(store)
    row = store.row_starts[3]
    assert store.ends[row] == -1
    last = store.row_starts[4] - 1
    assert store.ends[last] == len(texts[3].text)
    assert store.ids[last] == f"made/3@{len(texts[3].text)}"
    assert store.labels[last] == texts[3].label == 0
    middle = store.select(np.arange(row, last + 1))
    assert middle.ids[-1] == store.ids[last]
    np.testing.assert_array_equal(middle.read(), store.read()[row : last + 1])
