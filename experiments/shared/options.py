"""Flags that several programs share: texts, extraction, two sides."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from experiments.shared.names import METHOD_NAMES
from helix_jax import alignment
from helix_jax.choices import AUTO, ENGINES, POOLINGS
from helix_jax.errors import RunError
from helix_jax.models.dtypes import LOADED_DTYPES
from helix_jax.runs import option

TEXT_POOLINGS = (AUTO, *(one for one in POOLINGS if one != "token"))
SIDE = "embedded model by name, model folder, hub id, or embeddings:FILE"


def workdir_option(help_text: str = "work directory") -> Any:
    """The field for the folder that a run writes to."""
    return option("", help_text, names="workdir", required=True)


def seed_option(help_text: str) -> Any:
    """The field for a seed, a 32-bit number."""
    return option(0, help_text, least=0, most=2**32 - 1)


def seeds_option(
    help_text: str = "draws of the few-shot texts and of the controls",
) -> Any:
    """The field for the number of random draws; scores are means over the draws."""
    return option(3, help_text, least=1)


def resamples_option(default: int = 2000) -> Any:
    """The field for the resamples of intervals over documents."""
    return option(default, "bootstrap resamples of documents", least=1)


def limit_option(default: int = 0) -> Any:
    """The field for how much of --data is used."""
    return option(
        default, "texts of the corpus to use, chosen by hash; 0: all", least=0
    )


def public_option(use: str = "to fit maps on; empty: none") -> Any:
    """The field for public text, which is not from the task."""
    return option("", f"corpora of public text {use}", names="corpora")


def public_limit_option() -> Any:
    """The field for how much of --public is used."""
    return option(20_000, "public texts to use, chosen by hash; 0: all", least=0)


def layers_option() -> Any:
    """The field for the layers whose states are taken."""
    return option((-1,), "0 is the embedding, -1 the last; empty: all")


def methods_option(default: str) -> Any:
    """The field for the methods to fit, see `choose_methods`."""
    return option(
        (default,),
        "names or groups",
        choices=("all", "closed", "gradient", *METHOD_NAMES),
        required=True,
    )


def choose_methods(names: Sequence[str], rows: int, dx: int) -> list[str]:
    """The methods of --methods: names, `all`, `closed` (forms) or `gradient`.

    A group leaves out methods that need more rows of width dx.
    """
    closed = alignment.usable_methods(rows, dx, anchors=True)
    gradient = tuple(alignment.GRADIENT_METHODS)
    groups = {"closed": closed, "gradient": gradient, "all": (*closed, *gradient)}
    chosen = (method for name in names for method in groups.get(name, (name,)))
    return list(dict.fromkeys(chosen))


def dtype_option() -> Any:
    """The field for the dtype that models are loaded in."""
    return option(
        "float32",
        "dtype of the weights; int8: of the blocks, which compute in bfloat16; a CPU "
        "takes neither it nor bfloat16",
        choices=LOADED_DTYPES,
    )


def engine_option() -> Any:
    """The field for what runs the models."""
    return option(
        "auto",
        "engine of the models; auto: jax for native families, otherwise torch",
        choices=ENGINES,
    )


def mesh_option() -> Any:
    """The field for the mesh of devices that models are divided over."""
    return option(
        "",
        "how devices divide the work, such as data:2,tensor:4 (data, fsdp, expert, "
        "tensor); empty: all share the batch if each can hold the model, otherwise as "
        "few as possible hold it",
    )


@dataclasses.dataclass(frozen=True)
class TextOptions:
    """Flags that name a corpus and its columns."""

    data: str = option(
        "docstrings", "corpus by name, file or folder", names="corpora", required=True
    )
    text_column: str = option(
        "", "column of the text; empty: a column with a usual name"
    )
    pair_column: str = option("", "column of the second text of a pair")
    label_column: str = option("", "column of the label")
    id_column: str = option("", "column of unique ids")
    limit: int = limit_option()


@dataclasses.dataclass(frozen=True)
class ExtractionOptions:
    """Flags for the states that are taken of a text."""

    pooling: str = option(
        AUTO,
        "of token states; auto: with all modules after it, as in a sentence encoder's "
        "folder, otherwise mean",
        choices=TEXT_POOLINGS,
    )
    prompt_name: str = option(
        "", "name of a sentence encoder's prompt; empty: its default"
    )
    final_norm: bool = option(True, "take states after the model's final norm")
    max_tokens: int = option(
        0,
        "longer texts are truncated, and counted; 0: with --pooling=auto as in a "
        "sentence encoder's folder, otherwise 512",
        least=0,
    )
    dtype: str = dtype_option()
    engine: str = engine_option()
    mesh: str = mesh_option()
    token_budget: int = option(
        0, "tokens per batch, padding included; 0: chosen", least=0
    )
    window: int = option(
        0,
        "texts of a piece of work, the most that a kill loses and the unit that "
        "processes divide; 0: chosen",
        least=0,
    )
    stores: str = option(
        "",
        "folder or URL of activation stores; empty: in --workdir; none (fit only): "
        "states are not kept",
        names="place",
    )


@dataclasses.dataclass(frozen=True)
class ModelsOptions(TextOptions, ExtractionOptions):
    """Flags of models that are compared with each other."""

    workdir: str = workdir_option()
    models: tuple[str, ...] = option(
        (),
        "two or more: embedded models by name, folders, hub ids, embeddings:FILE",
        names="side",
        required=True,
        tiny=("pebble-llama", "pebble-neox"),
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
class TaskOptions(PairOptions):
    """Flags of two sides, a task, and public text that maps are also fitted on."""

    public: str = public_option()
    public_limit: int = public_limit_option()
    resamples: int = resamples_option()


TINY_TEXTS = {"limit": 600, "max_tokens": 64}
TINY_TASK = TINY_TEXTS | {"public_limit": 600, "resamples": 200}


@dataclasses.dataclass(frozen=True)
class PlantedOptions(PairOptions):
    """Flags of two sides; without them the rows are synthetic."""

    source: str = option("", f"{SIDE}; empty: synthetic rows", names="side")
    target: str = option("", f"{SIDE}; empty: synthetic rows", names="side")

    def check(self) -> None:
        """Raise if only one side is named, or only a corpus."""
        named = [side for side in ("source", "target") if getattr(self, side)]
        if len(named) == 1:
            (missing,) = {"source", "target"} - set(named)
            raise RunError(
                f"--{named[0]} is given and --{missing} is not; give both, or neither "
                "to use the program's own data."
            )
        if not named and self.data != type(self).data:
            raise RunError(
                f"--data={self.data} is given without --source and --target, and the "
                "synthetic rows are not states of texts; give both, or no --data."
            )


def require_distinct(flag: str, names: list[str]) -> None:
    """Raise unless there are two names or more, all different, as results bear them."""
    if len(names) < 2:
        raise RunError(f"--{flag} needs two or more names, got {names}.")
    if len(set(names)) < len(names):
        raise RunError(f"--{flag} must have different names, got {names}.")
