"""Which sets of clusters are asked, and what a provider can guess from them."""

import numpy as np
import pytest
from scipy.stats import binomtest

from helix_jax.private.search.layout import list_sets
from helix_jax.private.search.plausible import (
    best_clusters,
    choose_sets,
    draw_blocks,
    draw_decoys,
    posterior,
)

from .test_clusters import unit_rows

NAME, DECOYS = b"n" * 16, 4


def secret(i):
    return b"%032d" % i


@pytest.fixture(scope="module")
def listed():
    """sets, weights, and the centroids that they are of."""
    vectors, centroids = unit_rows(5000, 6), unit_rows(40, 6, 1)
    sets, weights = list_sets(vectors, centroids, probes=3, listed=60, seed=0)
    return sets, weights, centroids


def test_the_list_holds_probe_sets_of_rows_and_how_many_choose_each(listed):
    sets, weights, centroids = listed
    scores = unit_rows(5000, 6) @ centroids.T
    best = {tuple(sorted(one)) for one in best_clusters(scores, 3).tolist()}
    assert {tuple(sorted(one)) for one in sets.tolist()} <= best
    assert len(sets) <= 60
    assert weights.sum() == 5000
    assert (weights > 0).all()
    again = np.bincount(choose_sets(scores, sets), minlength=len(sets))
    np.testing.assert_array_equal(again, weights)


def test_a_query_whose_own_set_is_listed_chooses_it(listed):
    sets, _, centroids = listed
    scores = unit_rows(5000, 6) @ centroids.T
    own = best_clusters(scores, 3)
    chosen = sets[choose_sets(scores, sets)]
    keys = {tuple(sorted(one)) for one in sets.tolist()}
    inside = [i for i in range(5000) if tuple(sorted(own[i].tolist())) in keys]
    assert len(inside) > 100
    for i in inside:
        assert set(own[i]) == set(chosen[i])


def test_decoys_are_the_same_for_the_same_set_and_secret(listed):
    weights = listed[1]
    first = draw_decoys(secret(0), NAME, 3, weights, DECOYS)
    np.testing.assert_array_equal(
        first, draw_decoys(secret(0), NAME, 3, weights, DECOYS)
    )
    others = [
        draw_decoys(secret(1), NAME, 3, weights, DECOYS),
        draw_decoys(secret(0), b"m" * 16, 3, weights, DECOYS),
        draw_decoys(secret(0), NAME, 4, weights, DECOYS),
    ]
    for other in others:
        assert (other != first).any()


def test_decoys_are_drawn_by_weight(listed):
    weights = listed[1]
    drawn = np.concatenate(
        [draw_decoys(secret(i), NAME, i % 7, weights, DECOYS) for i in range(5000)]
    )
    expected = weights / weights.sum() * len(drawn)
    found = np.bincount(drawn, minlength=len(weights))
    chi = ((found - expected) ** 2 / expected).sum()
    # Mean L - 1, variance 2 (L - 1): six standard deviations.
    assert abs(chi - len(weights)) < 6 * np.sqrt(2 * len(weights))


def exact_interval(right, count):
    return binomtest(round(right), count).proportion_ci(0.9999)


def guesses(prior, weights, count=6000):
    """Right guesses of a provider that knows the prior, how many it expects, of all."""
    generator = np.random.default_rng(1)
    chosen = generator.choice(len(prior), count, p=prior)
    sets = np.array(
        [
            [one, *draw_decoys(secret(i), NAME, one, weights, DECOYS)]
            for i, one in enumerate(chosen)
        ]
    )
    shown = generator.permuted(sets, axis=1)
    believed = posterior(shown, prior, weights)
    # One of the draws that it believes in most, at random.
    top = believed == believed.max(axis=1, keepdims=True)
    guess = (top * generator.random(top.shape)).argmax(axis=1)
    # A guess is right by the draw, so that equal draws share it.
    same = shown == chosen[:, None]
    right = np.take_along_axis(
        same / same.sum(axis=1, keepdims=True), guess[:, None], 1
    )
    return right.sum(), believed.max(axis=1).mean(), count


def test_queries_distributed_as_the_index_are_guessed_by_chance(listed):
    weights = listed[1]
    right, believed, count = guesses(weights / weights.sum(), weights)
    assert believed == pytest.approx(1 / (DECOYS + 1))
    low, high = exact_interval(right, count)
    assert low <= 1 / (DECOYS + 1) <= high


def test_other_queries_are_guessed_as_often_as_the_posterior_says(listed):
    weights = listed[1]
    prior = np.random.default_rng(2).dirichlet(np.full(len(weights), 0.1))
    right, believed, count = guesses(prior, weights)
    low, high = exact_interval(right, count)
    assert low <= believed <= high
    assert believed > 0.5  # a client with a few topics is told from its decoys


def test_blocks_of_decoys_are_others_and_all_alike():
    drawn = [draw_blocks(secret(i), NAME, 5, 9, DECOYS) for i in range(4000)]
    assert all(len({5, *one}) == DECOYS + 1 for one in map(tuple, drawn))
    found = np.bincount(np.concatenate(drawn), minlength=9)
    expected = 4000 * DECOYS / 8
    assert found[5] == 0
    assert (np.abs(np.delete(found, 5) - expected) < 6 * np.sqrt(expected)).all()
    assert len(draw_blocks(secret(0), NAME, 1, 3, 10)) == 2
    assert len(draw_blocks(secret(0), NAME, 0, 1, 10)) == 0
