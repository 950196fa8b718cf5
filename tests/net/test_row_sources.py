"""What rows of a service are read from, against the same rows read whole."""

import numpy as np
import pytest

from helix_jax.errors import RunError
from helix_jax.net.deployment import open_rows
from helix_jax.net.row_sources import NpzRows
from helix_jax.net.settings import RowsSettings

Y = np.random.default_rng(0).normal(size=(500, 7)).astype(np.float32)
PARTS = [slice(0, 100), slice(100, 480), slice(480, 999), slice(0, 3), slice(200, 201)]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_file_of_rows_is_read_in_parts_and_again(tmp_path, save):
    ids = [f"text-{number}" for number in range(len(Y))]
    save(tmp_path / "rows.npz", ids=np.array(ids), y=Y)
    opened = open_rows("a", RowsSettings(str(tmp_path / "rows.npz")))
    assert opened.source.shape == Y.shape
    assert opened.ids == ids
    for part in PARTS:
        np.testing.assert_array_equal(opened.source[part], Y[part])
    before = opened.source.name
    save(tmp_path / "rows.npz", y=Y[:400])
    opened = open_rows("a", RowsSettings(str(tmp_path / "rows.npz")))
    assert opened.source.name != before
    assert opened.ids is None


def test_files_that_are_no_rows_are_refused_by_what_is_wrong(tmp_path):
    path = str(tmp_path / "rows.npz")
    for arrays, message in (
        ({"x": Y}, "needs the arrays y .* got x"),
        ({"y": Y, "z": Y}, "needs the arrays y .* got y, z"),
        ({"y": np.asfortranarray(Y)}, "kept as columns, expected numbers row by row"),
        ({"y": np.array([{}, {}])}, "kept as objects"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(RunError, match=message):
            open_rows("a", RowsSettings(path))
    np.savez(path, y=Y)
    data = bytearray((tmp_path / "rows.npz").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "rows.npz").write_bytes(data)
    with pytest.raises(RunError, match=r"damaged .* write it again"):
        NpzRows(path, "y")[0:500]
    (tmp_path / "rows.npz").write_bytes(b"no archive")
    with pytest.raises(RunError, match=r"damaged|not an .npz"):
        open_rows("a", RowsSettings(path))
