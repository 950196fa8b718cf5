import numpy as np
import pytest

from helix_jax.activations import Store, join
from helix_jax.errors import StoreError

TABLE = np.arange(12, dtype=np.float32).reshape(6, 2)


def make(name, ids, labels=None, scale=1.0):
    rows = scale * np.stack([TABLE[int(own[1:])] for own in ids])
    return Store(
        name=name,
        layers=(0,),
        width=2,
        fingerprint={},
        counts={},
        text_ids=ids,
        text_labels=np.array(labels or [-1] * len(ids), np.int32),
        reader=lambda layer, chosen: rows[chosen],
    )


def test_same_ids():
    ids = ["a0", "a3", "a1"]
    pair = join(make("left", ids, [0, 1, 0]), make("right", ids, scale=10))
    assert pair.ids == ids
    assert pair.labels.tolist() == [0, 1, 0]
    x, y = pair.read()
    np.testing.assert_array_equal(10 * x, y)
    parts = list(pair.rows(batch=2))
    assert [len(part) for part, _ in parts] == [2, 1]
    for part_x, part_y in parts:
        np.testing.assert_array_equal(10 * part_x, part_y)
    x, y = pair.select(np.array([2, 0])).read()
    np.testing.assert_array_equal(x, TABLE[[1, 0]])
    np.testing.assert_array_equal(10 * x, y)


@pytest.mark.parametrize(
    ("right", "message"),
    [
        (
            ["a0", "a2"],
            r"left \(3 rows\) and right \(2 rows\).*row 1 is 'a1' against "
            r"'a2'; 1 ids are only in the first and 0 only in the second",
        ),
        (["a0", "a2", "a1"], r"row 1 is 'a1' against 'a2'; 0 ids .* and 0 only"),
        (["a0", "a1"], r"row 2 is 'a2' against no row; 1 ids"),
        (["a0", "a1", "a2", "a3"], r"row 3 is no row against 'a3'; 0 ids .* and 1"),
    ],
)
def test_other_ids_name_both_stores(right, message):
    with pytest.raises(StoreError, match=message):
        join(make("left", ["a0", "a1", "a2"]), make("right", right))


def test_intersect_reorders_and_counts():
    left, right = ["a0", "a5", "a1", "a2"], ["a2", "a3", "a0"]
    pair = join(make("left", left), make("right", right, scale=10), align="intersect")
    assert pair.ids == ["a0", "a2"] == pair.y.ids
    assert (pair.dropped_x, pair.dropped_y) == (2, 1)
    x, y = pair.read()
    np.testing.assert_array_equal(x, TABLE[[0, 2]])
    np.testing.assert_array_equal(10 * x, y)


def test_intersect_needs_unique_ids():
    with pytest.raises(StoreError, match=r"right holds the id 'a1' more than once"):
        join(make("left", ["a1"]), make("right", ["a1", "a1"]), align="intersect")


def test_nothing_shared():
    with pytest.raises(StoreError, match=r"left and right share no id.*'a1'.*'a2'"):
        join(make("left", ["a1"]), make("right", ["a2"]), align="intersect")


def test_labels_must_agree():
    with pytest.raises(
        StoreError,
        match=r"left and right disagree about 1 labels; .*"
        r"'a1': 1 against 0",
    ):
        join(make("left", ["a0", "a1"], [0, 1]), make("right", ["a0", "a1"], [0, 0]))


def test_unknown_alignment():
    with pytest.raises(ValueError, match="align must be 'strict' or 'intersect'"):
        join(make("left", ["a1"]), make("right", ["a1"]), align="outer")
