"""An index of embeddings made with an old model, asked with a new one.

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

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from helix_jax.activations import Pair
from helix_jax.alignment import AffineMap, apply_map
from helix_jax.progress import bar
from helix_jax.similarity import swapped
from helix_jax.similarity.retrieval import (
    RetrievalScores,
    centred_ranks,
    score_ranks,
    with_width,
)
from helix_jax.text.hashing import document_of
from helix_jax.transfer.pair_fit import PairFit, choose_map
from helix_jax.types import Array


class Migration(NamedTuple):
    """An index in both spaces, and queries; the query's texts end the index.

    Attributes:
      new, old: [N, dx], [N, dy] embeddings of every text by either model.
      asked_new, asked_old: [Q, dx], [Q, dy] queries for the last Q texts, in order.
      centre_new, centre_old: [dx], [dy], that cosines are about.
      documents: [Q] of the queries.
    """

    new: np.ndarray
    old: np.ndarray
    asked_new: np.ndarray
    asked_old: np.ndarray
    centre_new: np.ndarray
    centre_old: np.ndarray
    documents: list[str]

    def ask(
        self, queries: Array, index: Array, centre: Array, **settings: object
    ) -> RetrievalScores:
        """Scores of queries [Q, D] in an index [N, D], settings as in `score_ranks`."""
        wanted = np.arange(len(self.old) - len(queries), len(self.old))
        ranks = centred_ranks(queries, index, wanted, centre=centre)
        return score_ranks(ranks, self.documents, **settings)

    def ask_mapped(self, affine: AffineMap, **settings: object) -> RetrievalScores:
        """Scores of the new model's queries, mapped, in the old index."""
        mapped = apply_map(affine, self.asked_new)
        return self.ask(mapped, self.old, self.centre_old, **settings)


def open_migration(fitted: PairFit, queries: Pair) -> Migration:
    """The index of all pairs of a fit, centred at the means of its fit split.

    Args:
      fitted: pairs of several splits, "test" the last.
      queries: of the same texts as the test split.
    """
    new, old = map(np.concatenate, zip(*(p.read() for p in fitted.pairs.values())))
    fit = fitted.moments["fit"]
    centres = (np.asarray(mean, np.float32) for mean in (fit.mean_x, fit.mean_y))
    documents = [document_of(text_id) for text_id in queries.ids]
    return Migration(new, old, *queries.read(), *centres, documents)


def search_arms(
    migration: Migration,
    fitted: PairFit,
    controls: Mapping[str, AffineMap],
    *,
    cutoffs: Sequence[int],
    resamples: int = 2000,
) -> dict[str, RetrievalScores]:
    """Recall of every arm.

    Args:
      migration: of the pairs of the fit.
      fitted: the map from new to old; the backward one is fitted on its moments.
      controls: maps from new to old: "shuffled", "random".
      cutoffs, resamples: as for `score_ranks`.

    Returns:
      arm -> RetrievalScores.
    """
    new, old, asked_new, asked_old, centre_new, centre_old, _ = migration
    backward = choose_map({name: swapped(m) for name, m in fitted.moments.items()})
    cut = with_width(asked_new, old.shape[1])
    asked = {
        "native": (asked_old, old, centre_old),
        "reindexed": (asked_new, new, centre_new),
        "mapped": (apply_map(fitted.map, asked_new), old, centre_old),
        "backward": (asked_new, apply_map(backward.fit.map, old), centre_new),
        "unmapped": (cut, old, centre_old),
        "shuffled": (apply_map(controls["shuffled"], asked_new), old, centre_old),
        "random": (apply_map(controls["random"], asked_new), old, centre_old),
    }
    settings = {"cutoffs": cutoffs, "resamples": resamples}
    return {
        arm: migration.ask(*rows, **settings)
        for arm, rows in bar(asked.items(), "arms asked")
    }
