"""Nearest neighbours in tiles, mutual k-NN and CKNNA: equal to dense numpy forms."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from helix_jax.similarity import (
    cknna,
    mutual_neighbours,
    nearest_neighbours,
    nearest_rows,
    neighbours_null,
)
from helix_jax.similarity import neighbours as module
from tests.similarity import twins


def _both(x, y, k=5, **settings):
    return (nearest_neighbours(z, neighbours=k, **settings) for z in (x, y))


def test_neighbours_equal_scikit_learn_in_tiles_of_any_size(monkeypatch):
    x, _ = twins.planted(130)
    want = NearestNeighbors(n_neighbors=6, metric="cosine").fit(x).kneighbors(x)
    for block_rows, columns in ((256, 8192), (32, 8192), (50, 3), (130, 64)):
        monkeypatch.setattr(module, "_COLUMNS", columns)
        got = nearest_neighbours(x, neighbours=5, block_rows=block_rows)
        np.testing.assert_array_equal(got.rows, want[1][:, 1:])
        np.testing.assert_allclose(got.similarity, 1 - want[0][:, 1:], atol=1e-9)


@pytest.mark.parametrize("k", [2, 5, 20])
@pytest.mark.parametrize("normalise", [True, False])
def test_scores_equal_dense_numpy(k, normalise):
    x, y = twins.planted(80)
    a, b = _both(x, y, k, normalise=normalise)
    if normalise:
        x, y = twins.unit(x), twins.unit(y)
    assert float(mutual_neighbours(a, b)) == pytest.approx(twins.mutual_knn(x, y, k))
    assert float(cknna(a, b)) == pytest.approx(twins.cknna(x, y, k), rel=1e-8)
    assert float(cknna(a, a)) == float(mutual_neighbours(a, a)) == pytest.approx(1)
    assert float(jax.jit(cknna)(a, b)) == pytest.approx(float(cknna(a, b)), rel=1e-6)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.floats(0.1, 10))
def test_invariant_to_rotation_scale_and_order(seed, scale):
    x, y = twins.planted(seed=seed)
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(7, 7)))[0]
    order = rng.permutation(60)
    a, b = _both(x, y)
    c, d = _both((scale * x @ rotation)[order], y[order])
    assert float(mutual_neighbours(a, b)) == float(mutual_neighbours(c, d))
    assert float(cknna(a, b)) == pytest.approx(float(cknna(c, d)), rel=1e-8)


def test_null_equals_recomputing():
    x, y = twins.planted(50)
    a, b = _both(x, y)
    key = jax.random.key(7)
    for measure, twin in ((mutual_neighbours, twins.mutual_knn), (cknna, twins.cknna)):
        null = neighbours_null(measure, a, b, permutations=4, key=key)
        for number in range(4):
            order = jax.random.permutation(jax.random.fold_in(key, number), 50)
            want = twin(twins.unit(x), twins.unit(y)[np.asarray(order)], 5)
            assert float(null[number]) == pytest.approx(want, rel=1e-8)
    many = np.asarray(neighbours_null(mutual_neighbours, a, b, permutations=2000))
    assert many.mean() == pytest.approx(5 / 49, abs=0.002)


def test_among_duplicates_the_lower_row_is_first():
    x = np.repeat(np.eye(3), 3, axis=0)
    got = nearest_neighbours(x, neighbours=3, block_rows=4)
    np.testing.assert_array_equal(
        got.rows,
        [
            [1, 2, 3],
            [0, 2, 3],
            [0, 1, 3],
            [4, 5, 0],
            [3, 5, 0],
            [3, 4, 0],
            [7, 8, 0],
            [6, 8, 0],
            [6, 7, 0],
        ],
    )


def test_rows_that_point_away_have_real_neighbours_still(monkeypatch):
    """In tiles that are filled up, where every similarity is below zero."""
    monkeypatch.setattr(module, "_COLUMNS", 16)
    rows = np.abs(np.random.default_rng(0).normal(size=(41, 4)))
    found = nearest_rows(-rows[:7], rows, neighbours=41, block_rows=4)
    wanted = np.argsort(rows[:7] @ rows.T, axis=1)
    np.testing.assert_array_equal(found.rows, wanted)


def test_bad_input_is_refused():
    x, y = twins.planted()
    zero = np.where(np.arange(60)[:, None] == 4, 0, x)
    with pytest.raises(ValueError, match="row 4 is zero and has no direction"):
        nearest_neighbours(zero)
    with pytest.raises(ValueError, match="NaN or infinity, first in row 4"):
        nearest_neighbours(np.where(zero == 0, np.nan, zero))
    with pytest.raises(ValueError, match="1 to 59, less than the rows, got 60"):
        nearest_neighbours(x, neighbours=60)
    a = nearest_neighbours(x, neighbours=5)
    with pytest.raises(ValueError, match=r"\[60, 5\] and \[60, 4\]"):
        mutual_neighbours(a, nearest_neighbours(y, neighbours=4))
    with pytest.raises(ValueError, match="2 neighbours or more"):
        cknna(*_both(x, y, 1))
