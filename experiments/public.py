"""Public text: what a map is fitted on where the task's own texts must not be used."""

import dataclasses
from collections.abc import Callable

from experiments.states import PairOptions, Side, open_corpus, paired_states
from helix_jax.activations import Pair
from helix_jax.progress import stage
from helix_jax.text.corpus import Corpus
from helix_jax.text.docstrings import content_key
from helix_jax.types import Text


def public_pairs(
    public: str,
    limit: int,
    options: PairOptions,
    sides: tuple[Side, Side],
    task: Corpus,
) -> dict[str, Pair]:
    """Both sides' states of public text, fit and select splits.

    Args:
      public: corpora by name, file or folder.
      limit: texts to use, chosen by hash; 0 for all.
      options: flags of the extraction, `stores` set.
      sides: source and target.
      task: a corpus whose test texts are left out, by content.

    Returns:
      {"fit", "select"} -> Pair.
    """
    limited = dataclasses.replace(options, limit=limit)
    corpus = open_corpus(limited, public, least={"fit": 2, "select": 2})
    keep = without_texts_of(task, "test")
    return {
        split: paired_states(*sides, corpus, split, limited, keep=keep)
        for split in ("fit", "select")
    }


def without_texts_of(corpus: Corpus, *splits: str) -> Callable[[Text], bool]:
    """A filter for texts that some splits of a corpus do not hold."""
    with stage("texts that two corpora share"):
        held = {
            content_key(text.text) for split in splits for text in corpus.read(split)
        }
    return lambda text: content_key(text.text) not in held
