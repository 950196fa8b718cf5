"""An index of embeddings made with an old model, queried with a new one.

The target is the old model, the source the new one.

| arm        | queries                  | index                                     |
|------------|--------------------------|-------------------------------------------|
| native     | old model                | old model                                 |
| reindexed  | new model                | new model: everything embedded again      |
| mapped     | new model, mapped        | old model                                 |
| backward   | new model                | old model, mapped to the new one's space  |
| unmapped   | new model, cut or padded | old model: control                        |
| shuffled   | new model, mapped        | old model; map of shuffled pairs: control |
| random     | new model, rotated       | old model: control                        |
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from helix_jax.activations import Pair
from helix_jax.alignment import AffineMap, Moments, StateMap, apply_map
from helix_jax.progress import bar
from helix_jax.similarity import swapped
from helix_jax.similarity.gains import class_gains, normalised_gains
from helix_jax.similarity.retrieval import (
    RetrievalScores,
    Search,
    cosine_search,
    score_ranks,
    with_width,
)
from helix_jax.stats import Interval, bootstrap_interval
from helix_jax.text.hashing import document_of
from helix_jax.transfer.pair_fit import PairFit, choose_map

DEPTH = 10  # of nDCG and of shared results; all rows of a smaller index


class ArmScores(NamedTuple):
    """The scores of an arm.

    Attributes:
      found: scores of the one relevant row.
      graded: nDCG@DEPTH where rows of its class count too; None without classes.
      alike: share of the reference's DEPTH rows that are found; None without one.
    """

    found: RetrievalScores
    graded: Interval | None = None
    alike: Interval | None = None


class Migration(NamedTuple):
    """An index in both spaces, and queries for its last texts.

    Attributes:
      new, old: [N, dx], [N, dy] embeddings of every text by either model.
      asked_new, asked_old: [Q, dx], [Q, dy] queries for the last Q texts, in order.
      centre_new, centre_old: [dx], [dy], the centres of the cosines.
      documents: [Q] of the queries.
      classes: [N] int32 of the index's texts, -1 where they have none.
    """

    new: np.ndarray
    old: np.ndarray
    asked_new: np.ndarray
    asked_old: np.ndarray
    centre_new: np.ndarray
    centre_old: np.ndarray
    documents: list[str]
    classes: np.ndarray

    @property
    def wanted(self) -> np.ndarray:
        """[Q] int, the row of the index that each query looks for."""
        return np.arange(len(self.old) - len(self.documents), len(self.old))

    def in_new(self, *, index: np.ndarray | None = None) -> Search:
        """The new model's queries in its own space, in an index [N, dx] or its own."""
        index = self.new if index is None else index
        return cosine_search(self.asked_new, index, centre=self.centre_new)

    def in_old(self, *, queries: np.ndarray | None = None) -> Search:
        """Queries [Q, dy], or the old model's own, in the old index."""
        queries = self.asked_old if queries is None else queries
        return cosine_search(queries, self.old, centre=self.centre_old)

    def mapped(self, map: StateMap) -> Search:
        """The new model's queries, mapped, in the old index."""
        return self.in_old(queries=np.asarray(apply_map(map, self.asked_new)))

    def backward(self, map: StateMap) -> Search:
        """The new model's queries in the old index, mapped from old to new."""
        return self.in_new(index=np.asarray(apply_map(map, self.old)))

    def score(
        self,
        search: Search,
        *,
        reference: np.ndarray | None = None,
        cutoffs: Sequence[int],
        resamples: int = 2000,
    ) -> ArmScores:
        """What a search finds.

        Args:
          search: of these queries in an index of these rows.
          reference: [Q, DEPTH] rows that another search finds.
          cutoffs, resamples: as for `score_ranks`.
        """
        depth = min(DEPTH, len(self.old))
        nearest = search.nearest(depth)
        graded = alike = None
        if self.classes.min() >= 0:
            gains = normalised_gains(*class_gains(nearest, self.wanted, self.classes))
            graded = bootstrap_interval(gains, self.documents, resamples=resamples)
        if reference is not None:
            shared = np.any(nearest[:, :, None] == reference[:, None, :], axis=2)
            agreed = shared.mean(1)
            alike = bootstrap_interval(agreed, self.documents, resamples=resamples)
        found = score_ranks(
            search.ranks(self.wanted),
            self.documents,
            cutoffs=cutoffs,
            depth=depth,
            resamples=resamples,
        )
        return ArmScores(found, graded, alike)


def open_migration(pairs: Iterable[Pair], queries: Pair, moments: Moments) -> Migration:
    """The index of all rows of some pairs, centred at the means of some moments.

    Args:
      pairs: x is of the new model and y of the old one.
      queries: of the same texts as the last of the pairs.
      moments: of the rows whose means become the centres of the cosines.
    """
    pairs = list(pairs)
    new, old = map(np.concatenate, zip(*(pair.read() for pair in pairs)))
    classes = np.concatenate([pair.labels for pair in pairs])
    asked_new, asked_old = queries.read()
    return Migration(
        new,
        old,
        asked_new,
        asked_old,
        np.asarray(moments.mean_x, np.float32),
        np.asarray(moments.mean_y, np.float32),
        [document_of(text_id) for text_id in queries.ids],
        classes,
    )


def backward_map(moments: Mapping[str, Moments]) -> AffineMap:
    """The ridge map from the old space to the new one, of moments by split."""
    return choose_map({name: swapped(one) for name, one in moments.items()}).fit.map


def search_arms(
    migration: Migration, fitted: PairFit, controls: Mapping[str, AffineMap]
) -> dict[str, Search]:
    """The searches of every arm.

    Args:
      migration: of the pairs of the fit.
      fitted: the map from new to old; the backward one is fitted on its moments.
      controls: maps from new to old: "shuffled", "random".
    """
    cut = with_width(migration.asked_new, migration.old.shape[1])
    return {
        "native": migration.in_old(),
        "reindexed": migration.in_new(),
        "mapped": migration.mapped(fitted.map),
        "backward": migration.backward(backward_map(fitted.moments)),
        "unmapped": migration.in_old(queries=cut),
        "shuffled": migration.mapped(controls["shuffled"]),
        "random": migration.mapped(controls["random"]),
    }


def score_arms(
    migration: Migration,
    searches: Mapping[str, Search],
    *,
    cutoffs: Sequence[int],
    resamples: int = 2000,
) -> dict[str, ArmScores]:
    """Scores of several searches, each compared with the results of "reindexed".

    Args:
      migration: whose queries they are.
      searches: arm -> Search.
      cutoffs, resamples: as for `Migration.score`.
    """
    reference = migration.in_new().nearest(min(DEPTH, len(migration.old)))
    return {
        arm: migration.score(
            search, reference=reference, cutoffs=cutoffs, resamples=resamples
        )
        for arm, search in bar(searches.items(), "arms searched")
    }
