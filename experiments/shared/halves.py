"""What programs of retrieval through a map share: halves of texts, by two models.

The first half of a text is the query for its second half, in an index of second halves.
The old model is the target, the new one the source.
"""

from collections.abc import Sequence
from typing import NamedTuple

from experiments.shared.halves_options import HalvesOptions
from experiments.shared.sides import (
    Side,
    open_corpus,
    paired_states,
    with_stores,
    without_texts_of,
)
from helix_jax.activations import Pair
from helix_jax.text.corpus import Corpus
from helix_jax.text.hashing import SPLITS
from helix_jax.text.views import halves


class Halves(NamedTuple):
    """A corpus in halves, by both models; dictionaries are by split.

    Attributes:
      index: second halves, x of the new model and y of the old one.
      queries: first halves of the same texts, of the requested splits.
    """

    index: dict[str, Pair]
    queries: dict[str, Pair]


def read_halves(
    config: HalvesOptions,
    sides: tuple[Side, Side],
    asking: Sequence[str] = ("test",),
    *,
    corpus: Corpus | None = None,
    but: Corpus | None = None,
) -> Halves:
    """Both models' embeddings of all halves, extracted if they are missing.

    Args:
      config: flags.
      sides: the new model and the old one.
      asking: splits whose first halves are embedded too.
      corpus: instead of --data.
      but: a corpus whose texts are left out.
    """
    corpus = open_corpus(config) if corpus is None else corpus
    options, kept = with_stores(config), None
    if but is not None:
        new = without_texts_of(but, *SPLITS)
        kept = {t.id for split in SPLITS for t in corpus.read(split) if new(t)}
    keep = None if kept is None else lambda half: half.id in kept
    first, second = halves(corpus, words=config.words)
    return Halves(
        {one: paired_states(*sides, second, one, options, keep=keep) for one in SPLITS},
        {one: paired_states(*sides, first, one, options, keep=keep) for one in asking},
    )
