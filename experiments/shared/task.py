"""A labelled corpus in the states of both sides of the flags."""

import dataclasses
from typing import NamedTuple

from experiments.shared.options import PairOptions
from experiments.shared.sides import (
    Side,
    load_sides,
    open_corpus,
    paired_states,
    with_stores,
    without_texts_of,
)
from helix_jax.activations import Pair
from helix_jax.alignment import Moments
from helix_jax.text.corpus import Corpus, require_labels
from helix_jax.text.hashing import SPLITS
from helix_jax.transfer.pair_fit import pair_moments
from helix_jax.transfer.task import Task, make_task


class OpenTask(NamedTuple):
    """A labelled corpus and its states.

    Attributes:
      options: the flags, --stores filled in.
      corpus: the texts.
      sides: source and target.
      pairs: states of both by split, joined.
      task: labels and probes.
      public: the texts of --public, if there are any.
    """

    options: PairOptions
    corpus: Corpus
    sides: tuple[Side, Side]
    pairs: dict[str, Pair]
    task: Task
    public: Corpus | None

    def public_pairs(self) -> dict[str, Pair]:
        """States of --public (fit, select), without texts of the task's test split."""
        keep = without_texts_of(self.corpus, "test")
        return {
            split: paired_states(
                *self.sides, self.public, split, self.options, keep=keep
            )
            for split in ("fit", "select")
        }

    def public_moments(self) -> dict[str, Moments]:
        """Moments of the pairs of `public_pairs`."""
        pairs = self.public_pairs()
        return {split: pair_moments(pair) for split, pair in pairs.items()}


def open_task(config: PairOptions, corpus: Corpus, resamples: int = 2000) -> OpenTask:
    """Extract missing states of a labelled corpus, and train probes."""
    classes, public = require_labels(corpus), None
    if getattr(config, "public", ""):
        options = dataclasses.replace(config, limit=config.public_limit)
        public = open_corpus(options, config.public, least={"fit": 2, "select": 2})
    sides, options = load_sides(config), with_stores(config)
    pairs = {split: paired_states(*sides, corpus, split, options) for split in SPLITS}
    task = make_task(pairs, classes, resamples=resamples)
    return OpenTask(options, corpus, sides, pairs, task, public)
