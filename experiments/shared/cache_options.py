"""Flags of a program in which one model continues from another's cache."""

import dataclasses

from experiments.shared.options import resamples_option, seed_option, workdir_option
from experiments.shared.token_options import TokenOptions
from helix_jax.caches.shape import PromptShape
from helix_jax.choices import PLACE_RULES
from helix_jax.errors import RunError
from helix_jax.runs import Specs, option

TINY_CACHES = {
    "pairs": 3000,
    "select_pairs": 1000,
    "max_tokens": 48,
    "prompt": 24,
    "continuation": 16,
    "prompts": 8,
    "select_prompts": 8,
    "layers": (2, 0),
    "keep": 2,
    "train_rank": 4,
    "train_prompts": 8,
    "epochs": 1,
    "resamples": 50,
}


@dataclasses.dataclass(frozen=True)
class CacheOptions(TokenOptions):
    """Flags of two models, the map between their caches, and the prompts."""

    workdir: str = workdir_option("work directory; the map is in WORKDIR/map")
    pairs: int = option(40_000, "token pairs to fit on", least=2)
    select_pairs: int = option(10_000, "token pairs to choose on", least=2)
    layers: tuple[int, ...] = option(
        (1, 4),
        "source layers per target layer, one arm for each; 0: all",
        required=True,
    )
    keep: int = option(4, "arm whose map is kept and trained, one of --layers", least=0)
    rank: int = option(0, "add an arm whose kernels have this rank; 0: none", least=0)
    residual_rank: int = option(
        0,
        "add an arm with the source's own cache and a change of this rank, for caches "
        "of the same shape; 0: none",
        least=0,
    )
    train_rank: int = option(
        0, "rank that training adds to each kernel; 0: no training", least=0
    )
    train_prompts: int = option(64, "prompts of the fit split to train on", least=2)
    epochs: int = option(3, "epochs of the training", least=1)
    learning_rate: float = option(1e-3, "peak learning rate of the training", above=0)
    seed: int = seed_option("of the training")
    prompt: int = option(96, "target tokens of a prompt", least=2)
    continuation: int = option(64, "target tokens to predict after a prompt", least=1)
    opening: int = option(
        4, "first tokens that the target reads itself, after special ones", least=0
    )
    closing: int = option(1, "last tokens of a prompt that it reads itself", least=1)
    rule: str = option(
        "after",
        "which source token to pair with a target token that ends at another place",
        choices=PLACE_RULES,
    )
    prompts: int = option(64, "prompts to score on", least=2)
    select_prompts: int = option(24, "prompts of the select split", least=2)
    batch: int = option(8, "prompts at a time", least=2)
    choices: str = option(
        "",
        "labelled corpus for questions, file or folder; empty: none",
        names="corpora",
    )
    question: str = option(
        "\nThis text is about", "text after each text of --choices", verbatim=True
    )
    endings: tuple[str, ...] = option(
        (), "one ending per class of --choices; empty: their names"
    )
    questions: int = option(200, "texts to ask about", least=2)
    question_tokens: int = option(
        40, "tokens that these texts are truncated to", least=8
    )
    window_tokens: int = option(8192, "tokens of each side in memory", least=1)
    resamples: int = resamples_option()

    @property
    def shape(self) -> PromptShape:
        """How texts are divided into prompts."""
        names = ("prompt", "continuation", "opening", "closing", "rule")
        return PromptShape(**{name: getattr(self, name) for name in names})


def check_caches(config: CacheOptions, specs: Specs) -> None:
    """Raise if flags are incompatible, or a model has no cache to map."""
    from helix_jax.caches import cache_form  # slow, and flags are read without

    named = ",".join(map(str, config.layers))
    if min(config.layers) < 0:
        raise RunError(
            f"--layers={named}: numbers of source layers need to be 1 or more, or 0 "
            "for all."
        )
    if config.keep not in config.layers:
        raise RunError(f"--keep={config.keep} must be one of --layers={named}.")
    if config.rank and not max(config.layers):
        raise RunError(
            f"--rank={config.rank} applies to the largest number in --layers={named}, "
            "which has only 0, for all; add a number of source layers."
        )
    forms = [cache_form(specs[getattr(config, flag)]) for flag in ("source", "target")]
    widths = [(form.layers, form.width) for form in forms]
    if config.residual_rank and widths[0] != widths[1]:
        raise RunError(
            f"--residual_rank={config.residual_rank} changes the source's own cache, "
            "which needs as many layers of one width as the target's; they have "
            f"{widths[0][0]} of {widths[0][1]} and {widths[1][0]} of {widths[1][1]}."
        )
    if config.residual_rank > widths[0][1]:
        raise RunError(
            f"--residual_rank={config.residual_rank} is more than the "
            f"{widths[0][1]} columns of a layer's keys."
        )
    try:
        shape = config.shape
    except ValueError as error:
        raise RunError(f"--prompt={config.prompt}: {error}") from error
    length = shape.prompt + shape.continuation
    for flag in ("source", "target"):
        name = getattr(config, flag)
        if specs[name].max_tokens < length:
            raise RunError(
                f"--prompt={config.prompt}: with --continuation="
                f"{config.continuation} they are more than the "
                f"{specs[name].max_tokens} tokens of --{flag}={name}; make one "
                "shorter."
            )
