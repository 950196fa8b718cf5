"""Scores of many pairs with their nulls and intervals, against plain numpy."""

import jax
import numpy as np
import pytest
import scipy.stats

from helix_jax.similarity.scores import (
    Scores,
    Shuffles,
    SplitRows,
    join_scores,
    left_out_rows,
    score_fitted,
    score_rows,
    stack_scores,
)
from helix_jax.similarity.summary import summarise
from tests.similarity import twins
from tests.twins import best_probe, best_ridge
from tests.twins import r2 as twin_r2

KEY = jax.random.key(3)
SHUFFLES = 9


def linear_cka(x, y):
    return twins.cka(x @ x.T, y @ y.T)


def orders(rows):
    """The shuffles that every null is made of."""
    return [
        np.asarray(jax.random.permutation(jax.random.fold_in(KEY, i), rows))
        for i in range(SHUFFLES)
    ]


def test_left_out_rows_are_of_whole_documents():
    documents = [str(i // 3) for i in range(120)]
    kept = left_out_rows(documents, key=jax.random.key(0))
    assert len(kept) == 20
    assert {len(rows) for rows in kept} == {114}
    for rows in kept:
        gone = set(documents) - {documents[row] for row in rows}
        assert len(gone) == 2
    assert len(left_out_rows(["a", "b", "c"])) == 3


@pytest.mark.slow
def test_scores_of_rows_their_chance_and_intervals():
    (x, y), (_, z) = twins.planted(80), twins.planted(80, seed=1)
    views, pairs = (x, y, z), [(0, 1), (0, 2)]
    documents = [str(i // 2) for i in range(80)]
    kept = left_out_rows(documents, key=KEY)
    scores = score_rows(
        views, pairs, ["linear_cka"], kept, shuffles=Shuffles(SHUFFLES, KEY)
    )
    got = summarise(scores, "linear_cka", documents)
    value = np.array([linear_cka(views[a], views[b]) for a, b in pairs])
    left_out = np.array(
        [[linear_cka(views[a][r], views[b][r]) for a, b in pairs] for r in kept]
    )
    null = np.array(
        [[linear_cka(views[a], views[b][o]) for a, b in pairs] for o in orders(80)]
    )
    p = (1 + (null >= value).sum(axis=0)) / (1 + SHUFFLES)
    wanted = {
        "shuffled": null.mean(axis=0),
        "calibrated": (value - null.mean(axis=0)) / (1 - null.mean(axis=0)),
        "z": (value - null.mean(axis=0)) / null.std(axis=0),
        "p": p,
        "q": scipy.stats.false_discovery_control(p),
    }
    for field, numbers in wanted.items():
        found = [getattr(pair, field) for pair in got.pairs]
        np.testing.assert_allclose(found, numbers, rtol=1e-7, err_msg=field)

    def jackknife(value, left_out):
        half = scipy.stats.t.ppf(0.975, 19) * np.sqrt(19) * left_out.std(axis=0)
        return value, value - half, value + half

    found = np.transpose([pair.score for pair in got.pairs])
    np.testing.assert_allclose(found, jackknife(value, left_out), rtol=1e-7)
    mean = jackknife(value.mean(), left_out.mean(axis=1))
    np.testing.assert_allclose(got.mean, mean, rtol=1e-7)


def _split(rows):
    return SplitRows(rows[:300], rows[300:400], rows[400:])


@pytest.mark.slow
def test_scores_of_maps_and_of_what_a_probe_reads():
    labels = np.random.default_rng(0).integers(3, size=600)
    x, y = twins.planted(600, 9, 8)
    x[:, :3] += 4 * np.eye(3)[labels]
    y[:, :3] += 4 * np.eye(3)[labels]
    x, y = x.astype(np.float32), y.astype(np.float32)  # as states are
    documents = list(map(str, range(200)))
    kept = left_out_rows(documents, key=KEY)
    scores = score_fitted(
        _split(x),
        _split(y),
        ["r2_forward", "cosine", "agreement"],
        kept,
        rank=4,
        labels=_split(labels),
        shuffles=Shuffles(SHUFFLES, KEY),
    )
    splits = [_split(z.astype(np.float64)) for z in (x, y)]
    (x_fit, x_select, x_test), (y_fit, y_select, y_test) = splits
    ridge = best_ridge(x_fit, y_fit, x_select, y_select)
    mapped = ridge.predict(x_test)
    r2 = twin_r2(y_test, mapped)
    assert float(scores.value["r2_forward"]) == pytest.approx(r2, rel=1e-5)
    centre = y_fit.mean(axis=0)
    a, b = (twins.unit(z - centre) for z in (mapped, y_test))
    np.testing.assert_allclose(scores.by_row["cosine"], (a * b).sum(1), atol=1e-4)
    labels = _split(labels)
    probe = best_probe(y_fit, labels.fit, y_select, labels.select)
    native, read = probe.predict(y_test), probe.predict(mapped)
    np.testing.assert_array_equal(scores.by_row["agreement"], native == read)
    assert scores.value["agreement"] == np.mean(native == read)
    null = [np.mean(native == read[order]) for order in orders(200)]
    np.testing.assert_allclose(scores.null["agreement"], null, rtol=1e-6)
    got = summarise(stack_scores([scores, scores]), "cosine", documents)
    assert got.mean.value == pytest.approx(np.mean(scores.by_row["cosine"]))
    assert got.pairs[0] == got.pairs[1]
    assert got.pairs[0].score.value == got.mean.value


def test_scores_of_the_same_pairs_are_joined_in_order():
    first = Scores({"a": 1}, {"a": 2}, {"a": 3}, {})
    second = Scores({"b": 4}, {}, {"b": 5}, {"b": 6})
    joined = join_scores(first, second)
    assert joined == Scores({"a": 1, "b": 4}, {"a": 2}, {"a": 3, "b": 5}, {"b": 6})
    assert list(joined.value) == ["a", "b"]
