"""Flags of programs that query an old model's index of texts with a new model."""

import dataclasses

from experiments.shared.options import PairOptions, resamples_option, seed_option
from helix_jax.errors import CorpusError
from helix_jax.runs import Specs, option


@dataclasses.dataclass(frozen=True)
class HalvesOptions(PairOptions):
    """Flags of an old model's index that is queried with a new model."""

    cutoffs: tuple[int, ...] = option(
        (1, 10, 100), "k of recall at k", least=1, required=True
    )
    words: int = option(8, "halves with fewer words are left out", least=1)
    resamples: int = resamples_option()
    seed: int = seed_option("of the random controls")


def require_models(config: HalvesOptions, specs: Specs) -> None:
    """Raise if a side is a file of embeddings and not a model."""
    for flag, name in (("source", config.source), ("target", config.target)):
        if specs[name] is None:
            raise CorpusError(
                f"--{flag}={name}: halves of texts are embedded, so both sides "
                "must be models and not embeddings:FILE."
            )
