"""Balanced clusters of unit rows: spherical k-means, then a limit on cluster sizes.

    centroid_c = the direction of the mean of the rows that are nearest to it

on a sample. Then every row goes to the nearest centroid that has room for it, in a
stable matching: among the nearest candidates of each row, no row is nearer to another
cluster than a row that this cluster holds. Rows are read in blocks, so they may be in a
file.

Reference: Dhillon and Modha 2001 (spherical k-means); Gale and Shapley 1962.
"""

from typing import Protocol

import numpy as np

from helix_jax.progress import bar

STEPS = 8
SAMPLED = 40  # rows of the sample per cluster
CANDIDATES = 24  # nearest centroids that a row applies to in one round
_BLOCK = 8192


class Rows(Protocol):
    """Rows [N, d]: an array, or an object that reads and scales them on demand."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, d)."""

    def __len__(self) -> int:
        """N."""

    def __getitem__(self, rows: slice | np.ndarray, /) -> np.ndarray:
        """Some rows."""


def fit_centroids(vectors: Rows, count: int, *, seed: int) -> np.ndarray:
    """Centroids of a sample of unit rows.

    Args:
      vectors: [N, d] float32 of norm 1, read in blocks.
      count: C, at most N.
      seed: of the sample and the first centroids.

    Returns:
      [C, d] float32 of norm 1.
    """
    generator = np.random.default_rng(seed)
    size = min(len(vectors), SAMPLED * count)
    chosen = np.sort(generator.choice(len(vectors), size, replace=False))
    sample = np.asarray(vectors[chosen], np.float32)
    centroids = sample[generator.choice(size, count, replace=False)]
    for _ in bar(range(STEPS), "k-means"):
        nearest = np.concatenate(
            [
                (sample[i : i + _BLOCK] @ centroids.T).argmax(axis=1)
                for i in range(0, size, _BLOCK)
            ]
        )
        centroids = mean_directions(sample, nearest, count)
        empty = np.flatnonzero(np.bincount(nearest, minlength=count) == 0)
        centroids[empty] = sample[generator.choice(size, len(empty), replace=False)]
    return centroids


def mean_directions(vectors: Rows, owners: np.ndarray, count: int) -> np.ndarray:
    """Directions of the clusters' means, [C, d] float32; zero for empty clusters."""
    sums = np.zeros((count, vectors.shape[1]))
    for start in range(0, len(vectors), _BLOCK):
        own = owners[start : start + _BLOCK]
        order = np.argsort(own, kind="stable")
        rows = np.asarray(vectors[start : start + _BLOCK], np.float64)[order]
        found, first = np.unique(own[order], return_index=True)
        sums[found] += np.add.reduceat(rows, first)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return (sums / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def assign_balanced(vectors: Rows, centroids: np.ndarray, capacity: int) -> np.ndarray:
    """Assign every row to a cluster; no cluster gets more than `capacity` rows.

    Args:
      vectors: [N, d] float32 of norm 1.
      centroids: [C, d] float32; C capacity >= N.
      capacity: most rows of a cluster.

    Returns:
      [N] int64.
    """
    owners = np.full(len(vectors), -1)
    while len(left := np.flatnonzero(owners < 0)):
        free = capacity - np.bincount(owners[owners >= 0], minlength=len(centroids))
        open_ones = np.flatnonzero(free)
        most = min(CANDIDATES, len(open_ones))
        order, scores = nearest(vectors, left, centroids[open_ones], most)
        owners[left] = _match(open_ones[order], scores, free)
    return owners


def nearest(
    vectors: Rows, rows: np.ndarray, centroids: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest centroids of some rows, best first, and their scores, [n, count]."""
    order = np.empty((len(rows), count), np.int64)
    scores = np.empty((len(rows), count), np.float32)
    blocks = range(0, len(rows), _BLOCK)
    for start in bar(blocks, "nearest centroids"):
        own = slice(start, start + _BLOCK)
        found = np.asarray(vectors[rows[own]]) @ centroids.T
        best = np.argpartition(-found, count - 1, axis=1)[:, :count]
        values = np.take_along_axis(found, best, axis=1)
        by_score = np.argsort(-values, axis=1, kind="stable")
        order[own] = np.take_along_axis(best, by_score, axis=1)
        scores[own] = np.take_along_axis(values, by_score, axis=1)
    return order, scores


def _match(order: np.ndarray, scores: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Match rows and clusters: rows apply in order, clusters keep the nearest.

    Returns:
      [n] the cluster of each row; -1 if all its candidates are full.
    """
    count, most = order.shape
    asked = np.zeros(count, np.int64)
    owners = np.full(count, -1)
    asking = np.arange(count)
    while len(asking):
        held = np.flatnonzero(owners >= 0)
        rows = np.concatenate([held, asking])
        wanted = order[rows, asked[rows]]
        by = np.lexsort((-scores[rows, asked[rows]], wanted))
        rows, wanted = rows[by], wanted[by]
        first = np.searchsorted(wanted, wanted)  # where its cluster's rows begin
        kept = np.arange(len(rows)) - first < free[wanted]
        owners[rows[kept]] = wanted[kept]
        refused = rows[~kept]
        owners[refused] = -1
        asked[refused] += 1
        asking = refused[asked[refused] < most]
    return owners
