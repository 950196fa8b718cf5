"""The ways across: the new model's queries mapped back, or the old index forward.

| way      | the map goes    | it is      | compared                     |
|----------|-----------------|------------|------------------------------|
| mapped   | from new to old | ridge      | mapped queries with old rows |
| rotated  | from new to old | a rotation | mapped queries with old rows |
| backward | from old to new | ridge      | new queries with mapped rows |
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from helix_jax.activations import Pair
from helix_jax.alignment import (
    AffineMap,
    FitResult,
    Moments,
    apply_map,
    fit_procrustes,
    fit_shuffled,
    row_cosine,
    shuffled_moments,
)
from helix_jax.similarity import swapped
from helix_jax.similarity.retrieval import Search
from helix_jax.transfer.pair_fit import choose_map
from helix_jax.transfer.search import Migration
from helix_jax.types import Array


class Way(NamedTuple):
    """Which way a map goes, of moments and rows that are given as (new, old).

    Attributes:
      backward: from old to new.
      rotation: the map is orthogonal Procrustes, not ridge.
    """

    backward: bool
    rotation: bool = False

    def moments(self, moments: Moments) -> Moments:
        """The moments, with what is mapped as x and what it is mapped to as y."""
        return swapped(moments) if self.backward else moments

    def rows(self, new: np.ndarray, old: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rows that are mapped, and those that they are mapped to."""
        return (old, new) if self.backward else (new, old)

    def fit(self, moments: Mapping[str, Moments]) -> FitResult:
        """Fit the map on the moments of each split."""
        if self.rotation:
            return fit_procrustes(self.moments(moments["fit"]))
        return choose_map({k: self.moments(one) for k, one in moments.items()}).fit

    def fit_shuffled(self, pair: Pair, *, key: Array, penalty: float) -> AffineMap:
        """Fit the control: the map of pairs that do not belong together."""
        rows = self.rows(*pair.read())
        if self.rotation:
            return fit_procrustes(shuffled_moments(*rows, key=key)).map
        return fit_shuffled(*rows, key=key, penalty=penalty)

    def search(self, migration: Migration, map: AffineMap) -> Search:
        """The new model's queries in the old index, through a map."""
        across = migration.backward if self.backward else migration.mapped
        return across(map)

    def residuals(
        self, map: AffineMap, new: np.ndarray, old: np.ndarray, centre: np.ndarray
    ) -> np.ndarray:
        """[N] 1 - cosine of each mapped row with its own, about the target's centre."""
        given, own = self.rows(new, old)
        mapped = np.asarray(apply_map(map, given))
        return 1 - np.asarray(row_cosine(mapped - centre, own - centre), np.float64)


WAYS = {
    "mapped": Way(backward=False),
    "rotated": Way(backward=False, rotation=True),
    "backward": Way(backward=True),
}
