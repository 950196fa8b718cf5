"""The layout of an index's rows: their order and blocks."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from helix_jax.private.packing import MAX_CLASSES, MAX_WIDTH
from helix_jax.private.search.clusters import (
    Rows,
    assign_balanced,
    fit_centroids,
    mean_directions,
)
from helix_jax.private.search.limits import MAX_BLOCKS, MAX_LISTED, MAX_PROBES
from helix_jax.private.search.plausible import best_clusters, choose_sets

SLACK = 1.1  # capacity of all clusters together, relative to the number of rows
WEIGHED = 50_000  # most rows in the sample that the weights of sets are counted on
_BLOCK = 4096


@dataclasses.dataclass(frozen=True)
class Layout:
    """Blocks of rows.

    Attributes:
      order: [N] int64, for each place the number of its row in the input.
      block_rows: most rows of a block.
      sizes: [B] int64, rows of each block; blocks follow each other.
      centroids: [B, d] float32 of norm 1 (zero for an empty cluster); None if blocks
        are not clusters.
      sets: [L, P] int64, the clusters of every set that a query may choose; or None.
      weights: [L] int64, how many rows of a sample choose each set; or None.
    """

    order: np.ndarray
    block_rows: int
    sizes: np.ndarray
    centroids: np.ndarray | None = None
    sets: np.ndarray | None = None
    weights: np.ndarray | None = None

    def rows(self, block: int) -> slice:
        """The places of a block's rows."""
        start = int(self.sizes[:block].sum())
        return slice(start, start + int(self.sizes[block]))

    def arrays(self) -> dict[str, np.ndarray]:
        """Its arrays by name."""
        found = {"order": self.order, "sizes": self.sizes}
        if self.centroids is not None:
            sets, weights = self.choices()
            found |= {"centroids": self.centroids, "sets": sets, "weights": weights}
        return found

    def choices(self) -> tuple[np.ndarray, np.ndarray]:
        """The public list of an index in clusters: sets and weights.

        Raises:
          ValueError: the index has no clusters.
        """
        if self.sets is None or self.weights is None:
            raise ValueError("this index has no clusters.")
        return self.sets, self.weights

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, np.ndarray], *, block_rows: int, clusters: bool
    ) -> "Layout":
        """The inverse of `arrays`.

        Raises:
          KeyError: one is missing.
          ValueError: they do not fit together.
        """
        found = cls(arrays["order"], int(block_rows), arrays["sizes"])
        if not (found.sizes >= 0).all() or found.sizes.max() > found.block_rows:
            raise ValueError("a block has a size below 0 or above block_rows")
        if found.sizes.sum() != len(found.order):
            raise ValueError("the blocks' sizes do not add up to the number of rows")
        if not clusters:
            return found
        centroids, sets, weights = (
            arrays[name] for name in ("centroids", "sets", "weights")
        )
        if not (
            len(centroids) == len(found.sizes)
            and sets.ndim == 2
            and len(weights) == len(sets)
            and sets.min() >= 0
            and sets.max() < len(found.sizes)
            and (weights > 0).all()
        ):
            raise ValueError("clusters, sets and weights do not fit together")
        return cls(found.order, found.block_rows, found.sizes, centroids, sets, weights)


def lay_out(
    vectors: np.ndarray,
    *,
    clusters: bool,
    block_rows: int,
    probes: int,
    listed: int,
    seed: int,
) -> Layout:
    """Arrange rows [N, d] in blocks; the arguments are those of `save_index`.

    Raises:
      ValueError: a size is not allowed.
    """
    count = len(vectors)
    for name, value, most in (
        ("block_rows", block_rows, MAX_WIDTH),
        ("probes", probes, MAX_PROBES),
        ("listed", listed, MAX_LISTED),
    ):
        if not 1 <= value <= most:
            raise ValueError(
                f"save_index: {name} must be from 1 to {most}, got {value}."
            )
    blocks = -(-count // block_rows)
    if clusters:
        blocks = min(count, -(-int(count * SLACK) // block_rows))
    elif count > MAX_CLASSES:
        raise ValueError(
            f"save_index: {count} rows are more than the {MAX_CLASSES} that one layer "
            "scores; use clusters=True."
        )
    if blocks > MAX_BLOCKS:
        raise ValueError(
            f"save_index: {count} rows in blocks of {block_rows} are more than "
            f"{MAX_BLOCKS} blocks; use a larger block_rows."
        )
    generator = np.random.default_rng(seed)
    if not clusters:
        sizes = np.full(blocks, block_rows)
        sizes[-1] = count - block_rows * (blocks - 1)
        return Layout(generator.permutation(count), block_rows, sizes)
    units = _Units(vectors)
    centroids = fit_centroids(units, blocks, seed=seed)
    owners = assign_balanced(units, centroids, block_rows)
    centroids = mean_directions(units, owners, blocks)
    sets, weights = list_sets(
        units, centroids, probes=min(probes, blocks), listed=listed, seed=seed
    )
    order = np.argsort(owners, kind="stable")
    sizes = np.bincount(owners, minlength=blocks)
    return Layout(order, block_rows, sizes, centroids, sets, weights)


def list_sets(
    vectors: Rows, centroids: np.ndarray, *, probes: int, listed: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The public list: probe sets of random rows, and how many rows choose each.

    Args:
      vectors: [N, d] float32 of norm 1.
      centroids: [C, d] float32.
      probes: P.
      listed: most sets.
      seed: of the rows.

    Returns:
      sets [L, P] int64 and weights [L] int64, without sets that no row chooses.
    """
    generator = np.random.default_rng([seed, 1])
    chosen = np.sort(
        generator.choice(len(vectors), min(WEIGHED, len(vectors)), replace=False)
    )
    listing = np.sort(generator.permutation(len(chosen))[:listed])
    scores = np.asarray(vectors[chosen[listing]]) @ centroids.T
    best = best_clusters(scores, probes)
    # Two sets of the same clusters count as one, whatever the order of the clusters.
    _, first = np.unique(np.sort(best, axis=1), axis=0, return_index=True)
    sets = best[np.sort(first)]
    weights = np.zeros(len(sets), np.int64)
    for start in range(0, len(chosen), _BLOCK):
        scores = np.asarray(vectors[chosen[start : start + _BLOCK]]) @ centroids.T
        weights += np.bincount(choose_sets(scores, sets), minlength=len(sets))
    return sets[weights > 0], weights[weights > 0]


class _Units:
    """Vectors whose rows are scaled to norm 1 when they are read."""

    def __init__(self, vectors: np.ndarray):
        self._vectors, self.shape = vectors, vectors.shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        found = np.asarray(self._vectors[rows], np.float32)
        return found / np.linalg.norm(found, axis=1, keepdims=True)
