"""Flags that several programs have: texts, what is extracted, two sides."""

import dataclasses
from typing import Any

from helix_jax.activations.pooling import POOLINGS
from helix_jax.errors import RunError
from helix_jax.models.checkpoint import DTYPES
from helix_jax.runs import option

TEXT_POOLINGS = tuple(one for one in POOLINGS if one != "token")
SIDE = "embedded model by name, model folder, hub id, or embeddings:FILE"


def workdir_option(help_text: str = "work directory") -> Any:
    """The field of the folder that a run writes to."""
    return option("", help_text, names="workdir", required=True)


def models_option() -> Any:
    """The field of models that are compared with each other."""
    return option(
        (),
        "two or more: embedded by name, folders, hub ids, embeddings:FILE",
        names="side",
        required=True,
        tiny=("pebble-llama", "pebble-neox"),
    )


def seed_option(help_text: str) -> Any:
    """The field of a seed, which is a 32-bit number."""
    return option(0, help_text, least=0, most=2**32 - 1)


@dataclasses.dataclass(frozen=True)
class TextOptions:
    """Flags that name a corpus and its columns."""

    data: str = option(
        "docstrings", "corpus by name, file or folder", names="corpora", required=True
    )
    text_column: str = option("", "column of the text; empty: a customary name")
    pair_column: str = option("", "column of the second text of a pair")
    label_column: str = option("", "column of the label")
    id_column: str = option("", "column of unique ids")
    limit: int = option(
        0, "texts of the corpus to use, chosen by hash; 0: all", least=0
    )


@dataclasses.dataclass(frozen=True)
class ExtractionOptions:
    """Flags that say which states of a text are taken."""

    pooling: str = option("mean", "over the tokens", choices=TEXT_POOLINGS)
    final_norm: bool = option(True, "take states after the model's final norm")
    max_tokens: int = option(
        512, "longer texts lose their end, and are counted", least=1
    )
    dtype: str = option("float32", "of the weights", choices=DTYPES)
    token_budget: int = option(0, "tokens a batch, padding included; 0: found", least=0)
    stores: str = option(
        "", "folder or URL of activation stores; empty: in --workdir", names="place"
    )


@dataclasses.dataclass(frozen=True)
class PairOptions(TextOptions, ExtractionOptions):
    """Flags of two sides."""

    workdir: str = workdir_option()
    source: str = option("", SIDE, names="side", required=True, tiny="pebble-llama")
    target: str = option("", SIDE, names="side", required=True, tiny="pebble-neox")
    source_layer: int = option(-1, "0 is the embedding, -1 the last")
    target_layer: int = option(-1, "0 is the embedding, -1 the last")


@dataclasses.dataclass(frozen=True)
class PlantedOptions(PairOptions):
    """Flags of two sides for which made-up rows stand where neither is named."""

    source: str = option("", f"{SIDE}; empty: made-up rows", names="side")
    target: str = option("", f"{SIDE}; empty: made-up rows", names="side")


def require_both_sides(config: PairOptions) -> None:
    """Raise where one side is named and the other is not, or a corpus without them."""
    named = [one for one in ("source", "target") if getattr(config, one)]
    if len(named) == 1:
        (missing,) = {"source", "target"} - set(named)
        raise RunError(
            f"--{named[0]} is given and --{missing} is not; give both, or neither for "
            "what stands in for them."
        )
    if not named and config.data != type(config).data:
        raise RunError(
            f"--data={config.data} is given without --source and --target, and what "
            "stands in for them is no states of texts; give both, or no --data."
        )


def require_distinct(who: str, flag: str, names: list[str]) -> None:
    """Raise unless there are two names, which results stand under, and all differ."""
    if len(names) < 2:
        raise RunError(f"{who}: --{flag} needs two or more names, got {names}.")
    if len(set(names)) < len(names):
        raise RunError(f"{who}: --{flag} must have different names, got {names}.")
