"""Flags of the token experiments: two models that read the same texts, and a map."""

import dataclasses
from typing import Any

from experiments.shared.options import (
    TextOptions,
    dtype_option,
    seed_option,
    workdir_option,
)
from helix_jax.choices import TOKEN_MAPS
from helix_jax.errors import RunError
from helix_jax.runs import option

MODEL = "embedded model by name, model folder or hub id"


@dataclasses.dataclass(frozen=True)
class TokenOptions(TextOptions):
    """Flags of two models that read the same texts."""

    source: str = option("", MODEL, names="model", required=True, tiny="pebble-llama")
    target: str = option("", MODEL, names="model", required=True, tiny="pebble-qwen3")
    workdir: str = workdir_option()
    dtype: str = dtype_option()
    engine: str = option("jax", "engine of the models", choices=("jax", "torch"))
    max_tokens: int = option(256, "longer texts are truncated", least=2)

    def check(self) -> None:
        """Raise if the engine does not give access to the models' parameters."""
        if self.engine != "jax":
            raise RunError(
                f"--engine={self.engine}: this program runs blocks and heads of its "
                "models separately, which only jax does; name models of native "
                "families (docs/models.md) and leave --engine out."
            )


TINY_MAP = {
    "pairs": 8000,
    "select_pairs": 2000,
    "test_pairs": 2000,
    "max_tokens": 64,
    "epochs": 1,
    "hidden": 32,
    "batch": 64,
}


@dataclasses.dataclass(frozen=True)
class TokenMapOptions(TokenOptions):
    """Flags of a map between token states."""

    source_layer: int = option(-1, "0 is the embedding, -1 the last")
    target_layer: int = option(-1, "0 is the embedding, -1 the last")
    source_norm: bool = option(True, "take states after the source's final norm")
    target_norm: bool = option(True, "give states after the target's final norm")
    map: str = option("ridge", "how the map is fitted", choices=TOKEN_MAPS)
    pairs: int = option(400_000, "token pairs to fit on", least=1)
    select_pairs: int = option(50_000, "token pairs to choose on", least=1)
    test_pairs: int = option(100_000, "token pairs to score on", least=1)
    loop: str = option(
        "target", "which side's tokens are looped over", choices=("target", "source")
    )
    hidden: int = option(1024, "width of the network of --map=mlp", least=1)
    epochs: int = option(2, "most epochs of kl and mlp", least=1)
    learning_rate: float = option(
        4e-3, "peak learning rate of kl and mlp; kl scales it to the states", above=0
    )
    batch: int = option(512, "token pairs per step of kl and mlp", least=1)
    seed: int = seed_option("of the fit and of the controls")

    @property
    def cuts(self) -> dict[str, Any]:
        """Where the two models are cut, as arguments of `stitch`."""
        names = ("source_layer", "target_layer", "source_norm", "target_norm")
        return {name: getattr(self, name) for name in names}
