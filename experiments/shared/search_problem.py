"""What a private search is measured on: an index, its queries and their classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from experiments.shared.options import PlantedOptions
from experiments.shared.sides import load_sides, open_corpus, paired_states, with_stores
from helix_jax.alignment import apply_map
from helix_jax.private.search.planted import planted_index
from helix_jax.text.hashing import SPLITS, document_of
from helix_jax.transfer.pair_fit import fit_pairs


class SearchProblem(NamedTuple):
    """An index's rows, and queries by what embeds them.

    Attributes:
      rows: [N, d] of the provider's model.
      queries: arm -> [Q, d] in the provider's space, "native" first.
      own: rows and queries of the client's model; None for synthetic ones.
      labels: of rows and of queries; None: the texts have none.
      documents: [Q] of the queries.
    """

    rows: np.ndarray
    queries: Mapping[str, np.ndarray]
    own: tuple[np.ndarray, np.ndarray] | None
    labels: tuple[np.ndarray, np.ndarray] | None
    documents: list[str]


def planted_problem(*, rows: int, width: int, count: int, seed: int) -> SearchProblem:
    """Rows about centres, and queries of the same distribution.

    Args:
      rows: of the index.
      width: of a row.
      count: of queries.
      seed: of the rows and the queries.
    """
    vectors, queries = planted_index(rows=rows, queries=count, width=width, seed=seed)
    documents = [str(i) for i in range(count)]
    return SearchProblem(vectors, {"native": queries}, None, None, documents)


def real_problem(options: PlantedOptions, *, count: int, seed: int) -> SearchProblem:
    """The target's rows, and the source's queries through a map and a control.

    Args:
      options: both sides, and the corpus.
      count: of queries; 0: all texts of the test split.
      seed: of the control.
    """
    corpus = open_corpus(options)
    sides, options = load_sides(options), with_stores(options)
    pairs = {split: paired_states(*sides, corpus, split, options) for split in SPLITS}
    fitted = fit_pairs(pairs)
    count = count or len(pairs["test"].ids)
    asked, native = (rows[:count] for rows in pairs["test"].read())
    x, y = (
        np.concatenate(parts)
        for parts in zip(*(pairs[split].read() for split in ("fit", "select")))
    )
    queries = {
        "native": native,
        "mapped": np.asarray(apply_map(fitted.map, asked)),
        "shuffled": np.asarray(apply_map(fitted.controls(seed)["shuffled"], asked)),
    }
    labels = None
    if pairs["fit"].y.labels is not None:
        of = {split: np.asarray(pairs[split].y.labels) for split in SPLITS}
        labels = np.concatenate([of["fit"], of["select"]]), of["test"][:count]
    documents = [document_of(one) for one in pairs["test"].ids[:count]]
    return SearchProblem(y, queries, (x, asked), labels, documents)
