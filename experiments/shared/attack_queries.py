"""How many queries attacks need, and whether a corpus has as many."""

from __future__ import annotations

import dataclasses

from experiments.shared.options import PlantedOptions
from experiments.shared.sides import open_corpus, row_width
from helix_jax.errors import RunError
from helix_jax.text.corpus import Corpus
from helix_jax.text.hashing import SPLITS


def queries_of(width: int) -> int:
    """How many texts are asked about, and at least as many judge what was learnt."""
    return 4 * (width + 1)


def require_queries(config: PlantedOptions, corpus: Corpus) -> None:
    """Raise unless the texts outside the fit split suffice for the attacks.

    Raises:
      RunError: says which --limit would do.
    """
    width = row_width(config, "target")
    if width is None:
        return
    held, need = _outside(corpus), 2 * queries_of(width)
    if held < need:
        limit = _limit_that_does(config, held, need)
        raise RunError(
            f"{held} texts of {config.data} are outside the fit split, {need} "
            f"are needed for queries and agreement with {width} dimensions; "
            + (f"raise --limit to {limit}." if limit else "use a larger --data.")
        )


def _outside(corpus: Corpus) -> int:
    """How many texts are outside the fit split."""
    return sum(corpus.counts[split] for split in SPLITS[1:])


def _limit_that_does(config: PlantedOptions, held: int, need: int) -> int:
    """A --limit with enough texts outside the fit split; 0 where none has.

    Splits are by document, so that shares vary with the limit: it is tried.
    """
    limit = config.limit
    while limit and held < need:
        limit = limit * need * 11 // (10 * max(held, 1)) + 1
        corpus = open_corpus(dataclasses.replace(config, limit=limit), least={})
        held = _outside(corpus)
        if held < need and sum(corpus.counts[split] for split in SPLITS) < limit:
            return 0
    return limit
