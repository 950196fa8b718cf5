"""Balanced clusters: every row has a place, no two rows would rather change."""

import numpy as np
import pytest

from helix_jax.private.search.clusters import (
    assign_balanced,
    fit_centroids,
    mean_directions,
)


def unit_rows(rows, width, seed=0):
    made = np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


@pytest.mark.parametrize(("capacity", "count"), [(50, 20), (53, 20), (1, 1000)])
def test_no_cluster_has_more_rows_than_places(capacity, count):
    vectors, centroids = unit_rows(1000, 8), unit_rows(count, 8, 1)
    owners = assign_balanced(vectors, centroids, capacity)
    sizes = np.bincount(owners, minlength=count)
    assert sizes.sum() == 1000
    assert sizes.max() <= capacity


def test_no_row_would_rather_have_anothers_place():
    vectors, centroids = unit_rows(600, 8), unit_rows(20, 8, 1)
    owners = assign_balanced(vectors, centroids, 33)
    scores = vectors @ centroids.T
    own = scores[np.arange(600), owners]
    for cluster in range(20):
        better = scores[:, cluster] > own + 1e-6
        held = owners == cluster
        assert not (better.any() and held.sum() < 33)  # a free place
        assert scores[better, cluster].max(initial=-1) <= own[held].min(initial=1)


def test_planted_clusters_are_found():
    centres = np.eye(10, dtype=np.float32)
    truth = np.arange(2000) % 10
    vectors = centres[truth] + 0.05 * unit_rows(2000, 10)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    centroids = fit_centroids(vectors, 30, seed=0)
    owners = assign_balanced(vectors, centroids, 400)
    for cluster in np.unique(owners):
        assert len(np.unique(truth[owners == cluster])) == 1


def test_mean_directions_are_those_of_plain_sums():
    vectors, owners = unit_rows(20_000, 5), np.arange(20_000) * 7 % 11
    found = mean_directions(vectors, owners, 12)
    for cluster in range(11):
        mean = vectors[owners == cluster].astype(np.float64).sum(axis=0)
        np.testing.assert_allclose(
            found[cluster], mean / np.linalg.norm(mean), atol=1e-5
        )
    assert not found[11].any()
