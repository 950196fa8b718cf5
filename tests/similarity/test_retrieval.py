"""Nearest rows of an index, and what a ranking is worth, against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from helix_jax.similarity import nearest_rows
from helix_jax.similarity.gains import (
    CLASS_GAIN,
    OWN_GAIN,
    class_gains,
    normalised_gains,
    rank_gains,
)
from helix_jax.similarity.retrieval import Search, cosine_search, score_ranks


def made(queries, rows, width=7, seed=0):
    rng = np.random.default_rng(seed)
    index = rng.normal(size=(rows, width)).astype(np.float32)
    relevant = rng.integers(rows, size=queries)
    asked = index[relevant] + rng.normal(size=(queries, width)).astype(np.float32)
    return cosine_search(asked, index, centre=index.mean(0)), relevant


@pytest.mark.parametrize(("queries", "rows"), [(3, 12), (300, 9000)])
@pytest.mark.slow
def test_nearest_rows_are_those_of_a_sort(queries, rows):
    search, _ = made(queries, rows)
    scores = search.queries @ search.index.T
    found = nearest_rows(*search, neighbours=5)
    wanted = np.argsort(-scores, axis=1)[:, :5]
    np.testing.assert_array_equal(found.rows, wanted)
    ordered = np.take_along_axis(scores, wanted, 1)
    np.testing.assert_allclose(found.similarity, ordered, atol=1e-6)
    np.testing.assert_array_equal(search.nearest(5), wanted)


def test_a_wrong_count_or_width_is_refused():
    search, _ = made(3, 12)
    with pytest.raises(ValueError, match="neighbours needs to be 1 to 12"):
        nearest_rows(*search, neighbours=13)
    with pytest.raises(ValueError, match="nearest_rows"):
        nearest_rows(search.queries[:, :3], search.index)


def test_gains_are_those_of_scikit_learn():
    search, relevant = made(60, 400)
    scores = search.queries @ search.index.T
    classes = np.random.default_rng(1).integers(3, size=400)
    own = np.arange(400) == relevant[:, None]
    of_class = classes == classes[relevant][:, None]
    graded = np.where(own, OWN_GAIN, np.where(of_class, CLASS_GAIN, 0))
    for depth in (1, 10):
        binary = rank_gains(search.ranks(relevant), depth=depth)
        twin = ndcg_score(own, scores, k=depth)
        assert binary.mean() == pytest.approx(twin, abs=1e-7)
        gains = class_gains(search.nearest(depth), relevant, classes)
        twin = ndcg_score(graded, scores, k=depth)
        assert normalised_gains(*gains).mean() == pytest.approx(twin, abs=1e-7)


def test_a_class_smaller_than_the_depth_can_still_be_ranked_best():
    gains = class_gains([[2, 0, 1]], [2], [4, 9, 4])
    assert normalised_gains(*gains) == pytest.approx([1.0])
    np.testing.assert_array_equal(gains[1], [[OWN_GAIN, CLASS_GAIN, 0]])
    assert normalised_gains([[0.0]], [[0.0]]) == [0]


def test_a_row_that_points_away_from_its_query_is_last_of_the_rows_there_are():
    rows = np.abs(np.random.default_rng(0).normal(size=(40, 4))) + 0.1
    search = Search(-rows.astype(np.float32), rows.astype(np.float32))
    worst = np.argmax(rows @ rows.T, axis=1)
    assert search.ranks(worst).tolist() == [40] * 40


def test_several_draws_are_means_of_each_query():
    ranks = np.array([[1, 30], [4, 1]])
    scores = score_ranks(ranks, ["a", "b"], cutoffs=(1, 4), resamples=20)
    assert scores.recall[1].value == 0.5
    assert scores.recall[4].value == 0.75
    assert scores.ndcg.value == pytest.approx((1 + 1 / np.log2(5) + 1) / 4)
    one = score_ranks(ranks[0], ["a", "b"], cutoffs=(1,), resamples=20)
    assert one.recall[1].value == 0.5


def test_a_centre_is_taken_from_both_sides():
    rows = np.array([[1.0, 0], [0, 2.0]])
    search = cosine_search(rows + 5, rows + 5, centre=np.array([5.0, 5.0]))
    assert isinstance(search, Search)
    np.testing.assert_allclose(search.queries @ search.index.T, np.eye(2), atol=1e-6)
