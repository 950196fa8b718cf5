"""Flags of the program `monitors`."""

import dataclasses

from experiments.shared.options import (
    TextOptions,
    dtype_option,
    resamples_option,
    seed_option,
    workdir_option,
)
from helix_jax.runs import option


@dataclasses.dataclass(frozen=True)
class MonitorOptions(TextOptions):
    """Which models, layers, texts and doses."""

    workdir: str = workdir_option()
    models: tuple[str, ...] = option(
        (),
        "two or more decoders: embedded by name, folders or hub ids",
        names="model",
        required=True,
        tiny=("pebble-llama", "pebble-neox"),
    )
    positive: str = option("", "class to separate from the rest; empty: the last")
    public: str = option(
        "docstrings", "text of maps and passages", names="corpora", required=True
    )
    depths: tuple[int, ...] = option(
        (40, 60, 80), "layers, in percent of the blocks", least=0, most=100
    )
    dtype: str = dtype_option()
    max_tokens: int = option(64, "longer texts are truncated", least=2)
    pairs: int = option(24_000, "token pairs to fit maps on", least=2)
    select_pairs: int = option(4000, "token pairs to choose penalties on", least=2)
    test_pairs: int = option(4000, "token pairs to score maps on", least=2)
    passages: int = option(48, "passages of public text to steer", least=2)
    passage_tokens: int = option(24, "tokens of each passage", least=4)
    places: int = option(
        4, "positions of each passage at which the next token is predicted", least=1
    )
    telling: int = option(
        32, "characteristic tokens of the class, and of the rest", least=1
    )
    dose: int = option(
        100,
        "length of the added vector, in percent of the distance between mean states "
        "of the class and the rest",
        least=1,
    )
    doses: tuple[int, ...] = option(
        (50, 100, 200, 400), "such lengths for the dose-response curves", least=1
    )
    draws: int = option(3, "number of random directions", least=1)
    ablated: int = option(200, "test texts read under ablation", least=4)
    suffix: str = option("", "text to append to texts that are read under ablation")
    prompt_tokens: int = option(8, "tokens of a passage to continue", least=1)
    new_tokens: int = option(
        24, "tokens to generate after each prompt; 0: none", least=0
    )
    encoder: str = option(
        "",
        "sentence encoder that judges texts; empty: the installed one",
        names="model",
    )
    judge_data: str = option(
        "",
        "labelled corpus, with the class, that the judge learns from, so that it "
        "shares no text with the directions; empty: --data",
        names="corpora",
    )
    resamples: int = resamples_option(1000)
    seed: int = seed_option("of random directions, shuffles and writing")
