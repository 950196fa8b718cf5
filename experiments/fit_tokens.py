r"""A map between token states of two models, and what the target's head makes of it.

    python -m experiments.fit_tokens --workdir=runs/fit_tokens --source=DIR_OR_ID \
      --target=DIR_OR_ID --data=NAME_FILE_OR_FOLDER --map=kl

Fitted on tokens of the fit split, chosen on the select split, scored on documents of
the test split beside the native models and the controls; the map is in WORKDIR/map.
--map is ridge, kl or mlp, see `helix_jax.generation.token_map`.

Cost: two busy cores, --pairs=250000 --hidden=512: three minutes.

With these flags, embedded pebble-llama -> pebble-qwen3 on docstrings: perplexity 56.4
with ridge, 31.8 with kl, 26.1 with mlp; the target has 21.3 and the source 21.6.
Agreement of first choices: 42, 56 and 62 %. In the other direction: ridge 54.6, kl
31.6, target 21.6. kl closes 70 % of ridge's gap, mlp 86 %.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial

from experiments.shared.about import BRACKETS, about_tokens
from experiments.shared.answers import HELD_OUT_PERPLEXITY, head_answer
from experiments.shared.names import GATE_NAMES
from experiments.shared.options import resamples_option, workdir_option
from experiments.shared.token_options import TINY_MAP, TokenMapOptions
from helix_jax.choices import SIGNALS
from helix_jax.progress import Progress
from helix_jax.reports import Block, Quantity, Table, cross_bars, quantity_table
from helix_jax.runs import Report, Run, Specs, experiment, option
from helix_jax.stats import Interval
from helix_jax.text.corpus import Corpus

if __name__ != "__main__":  # slow, and flags are read without
    from experiments.shared.sides import open_corpus
    from experiments.shared.token_maps import (
        check_cuts,
        fit_map,
        map_file,
        measure_table,
        score_map,
    )
    from experiments.shared.token_sides import load_token_sides
    from helix_jax.generation.gate import GateRows, gate_rows
    from helix_jax.generation.gate_worth import measure_gate
    from helix_jax.generation.stitch import Stitch, stitch
    from helix_jax.generation.token_sides import TokenSides, sample_texts

ARMS = {
    "": "mapped",
    "_ridge": "ridge alone",
    "_mean": "control: the mean",
    "_shuffled": "control: shuffled pairs",
    "_random": "control: random rotation",
    "_random_head": "control: permuted head",
}
NATIVE = {"_native_target": "target alone", "_native_source": "source alone"}
MEASURES = {
    "perplexity_mapped": HELD_OUT_PERPLEXITY,
    "kl_nats": Quantity("KL, nats", 1, 3),
    "agreement_top1": Quantity("top-1 agreement, %", 100, 1),
    "agreement_top5": Quantity("top-5 agreement, %", 100, 1),
}
FIGURES = {  # title -> how numbers are shown, those of each series
    "Agreement with the target": (
        Quantity("agreement, %", 100),
        {"agreement_top1": "first choice", "agreement_top5": "among the first five"},
    ),
    "Divergence from the target": (Quantity("KL, nats"), {"kl_nats": "KL"}),
}


@dataclasses.dataclass(frozen=True)
class FitTokensConfig(TokenMapOptions):
    """Flags of the experiment."""

    workdir: str = workdir_option("work directory; the map is in WORKDIR/map")
    gate: str = option(
        "", "gate to fit as well; empty: none", choices=("", *SIGNALS, "logistic")
    )
    gate_quality: float = option(
        0.8, "required agreement where the gate trusts the map", above=0, most=1
    )
    resamples: int = resamples_option()
    tiny: bool = option(False, "8,000 token pairs, one epoch")


def check(config: FitTokensConfig, specs: Specs) -> None:
    """Refuse a map that the target could not continue from."""
    check_cuts(config, specs)


@experiment(tiny=TINY_MAP | {"resamples": 100}, check=check)
def compute(config: FitTokensConfig, run: Run) -> Report:
    """Fit, score, write the map; see the module docstring."""
    corpus, sides = open_corpus(config), load_token_sides(config)
    snapshot = run.folder / "fit.safetensors"
    fitted = fit_map(sides, corpus, config, snapshot=snapshot)
    numbers = score_map(sides, fitted, corpus, config, resamples=config.resamples)
    blocks = map_blocks(numbers, config.map)
    if config.gate:
        parts = stitch(*sides.models, fitted.map, **config.cuts)
        numbers |= measure_gate(
            read_gate_rows(parts, sides, corpus, config),
            kind=config.gate,
            quality=config.gate_quality,
            resamples=config.resamples,
        )
        blocks.append(gate_table(numbers))
    files = {"map": map_file(fitted, sides, corpus, config)}
    told = about_tokens(config, numbers)
    answer = head_answer(numbers, config.data)
    return Report(numbers, blocks, told, files, answer=answer)


def read_gate_rows(
    parts: Stitch, sides: TokenSides, corpus: Corpus, config: FitTokensConfig
) -> dict[str, GateRows]:
    """Signals and outcomes by split; as many to fit on as to choose on."""
    rows = {}
    limits = (config.select_pairs, config.select_pairs, config.test_pairs)
    for split, limit in zip(("fit", "select", "test"), limits):
        texts = sample_texts(corpus, split, limit, max_tokens=config.max_tokens)
        with Progress(f"the gate, {split} split", unit="texts read") as shown:
            rows[split] = gate_rows(
                parts,
                sides.models[1],
                *sides.tokenizers,
                partial(shown.over, texts),
                limit=limit,
                max_tokens=config.max_tokens,
            )
    return rows


def map_blocks(numbers: Mapping[str, float | Interval], method: str) -> list[Block]:
    """Maps, controls and native models as a table; agreement and KL as bars."""
    arms = {k: v for k, v in ARMS.items() if f"generation/kl_nats{k}" in numbers}
    note = (
        f"Map: {method}. Teacher-forced on the test split: KL and agreement are with "
        "the target's own distribution of the next token."
    )
    groups = {arm: title.replace(": ", ":\n") for arm, title in arms.items()}
    return [
        measure_table("Token maps", numbers, arms | NATIVE, MEASURES, note),
        *(
            cross_bars(
                title,
                quantity,
                groups,
                series,
                lambda arm, name: numbers.get(f"generation/{name}{arm}"),
            )
            for title, (quantity, series) in FIGURES.items()
        ),
    ]


def gate_table(numbers: Mapping[str, float | Interval]) -> Table:
    """What the gate is worth, by token and by text."""
    measures = {
        f"gate/{name}": Quantity(title, 1, 3) for name, title in GATE_NAMES.items()
    }
    arms = {"": "by token", "_by_text": "by text"}
    note = f"Trusted by token, or by whole text. {BRACKETS}"
    return quantity_table("The gate", numbers, measures, arms=arms, note=note)


run = compute.run

if __name__ == "__main__":
    compute.main()
