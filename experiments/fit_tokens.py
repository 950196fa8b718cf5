r"""A map between token states of two models, and what the target's head makes of it.

    python -m experiments.fit_tokens --workdir=runs/fit_tokens --source=DIR_OR_ID \
      --target=DIR_OR_ID --data=NAME_FILE_OR_FOLDER --map=kl

Fitted on tokens of the fit split, chosen on the select split, scored on documents of
the test split beside the native models and the controls; the map is in WORKDIR/map.
--map is ridge, kl or mlp, see `token_maps.py`.

Cost: two cores that did other work too, --pairs=250000 --hidden=512: 10 minutes.

With these flags, embedded pebble-llama -> pebble-qwen3 on docstrings: perplexity 55.0
by ridge, 30.7 by kl, 25.1 by mlp, where the target has 20.6 and the source 20.7;
agreement of first choices 43, 56 and 62 %. The other way: ridge 53.3, kl 30.5, target
20.7. kl closes 70 % of ridge's gap, mlp 87 %.
"""

import dataclasses
from functools import partial
from pathlib import Path

from experiments.shared.about import about_tokens, show, show_saved
from experiments.shared.options import resamples_option, workdir_option
from experiments.shared.sides import open_corpus
from experiments.shared.token_maps import (
    TokenMap,
    check_cuts,
    fit_token_map,
    save_token_map,
    score_token_map,
    stitch_of,
)
from experiments.shared.token_sides import (
    TokenMapOptions,
    TokenSides,
    load_token_sides,
    sample_texts,
)
from experiments.token_map_blocks import result_blocks
from helix_jax.generation.gate import SIGNALS, fit_gate, gate_rows, gate_summary
from helix_jax.progress import Progress, stage
from helix_jax.runs import (
    finish_run,
    is_done,
    open_run,
    option,
    prepare_config,
    read_summary,
)
from helix_jax.runs.inputs import check_inputs
from helix_jax.runs.program import start_program
from helix_jax.text.corpus import Corpus


@dataclasses.dataclass(frozen=True)
class FitTokensConfig(TokenMapOptions):
    """Flags of the experiment."""

    workdir: str = workdir_option("work directory; the map is in WORKDIR/map")
    gate: str = option("", "fitted as well", choices=("", *SIGNALS, "logistic"))
    gate_quality: float = option(
        0.8, "agreement wanted of what the gate trusts", above=0, most=1
    )
    resamples: int = resamples_option()
    tiny: bool = option(False, "8,000 token pairs, one epoch")


def score_gate(
    sides: TokenSides, fitted: TokenMap, corpus: Corpus, config: FitTokensConfig
) -> dict[str, float]:
    """When to trust the mapped state: fitted, chosen and scored as `gate` says."""
    rows = {}
    limits = (config.select_pairs, config.select_pairs, config.test_pairs)
    for split, limit in zip(("fit", "select", "test"), limits):
        texts = sample_texts(corpus, split, limit, max_tokens=config.max_tokens)
        with Progress(f"the gate, {split} split", unit="texts read") as shown:
            rows[split] = gate_rows(
                stitch_of(sides, fitted, config),
                sides.target,
                sides.source_tokenizer,
                sides.target_tokenizer,
                partial(shown.over, texts),
                limit=limit,
                max_tokens=config.max_tokens,
            )
    summary = {}
    for suffix, by_text in (("", False), ("_by_text", True)):
        with stage("fitting and scoring the gate"):
            gate = fit_gate(
                rows["fit"],
                rows["select"],
                kind=config.gate,
                quality=config.gate_quality,
                by_text=by_text,
            )
            found = gate_summary(
                gate, rows["test"], by_text=by_text, resamples=config.resamples
            )
        summary |= {f"{name}{suffix}": value for name, value in found.items()}
    return summary


def run(config: FitTokensConfig) -> dict[str, float]:
    """Fit, score, write the map; see the module docstring."""
    config = prepare_config(
        config,
        tiny={
            "pairs": 8000,
            "select_pairs": 2000,
            "test_pairs": 2000,
            "epochs": 1,
            "hidden": 32,
            "batch": 64,
            "max_tokens": 64,
            "resamples": 100,
        },
    )
    check_cuts(config, check_inputs(config)[config.target])
    directory = open_run(config.workdir, config)
    if is_done(directory):
        show_saved(directory)
        return read_summary(directory)
    summary = _compute(config, directory.folder)
    show(directory, result_blocks(summary, config.map), about_tokens(config, summary))
    return finish_run(directory, summary)


def _compute(config: FitTokensConfig, folder: Path) -> dict[str, float]:
    corpus, sides = open_corpus(config), load_token_sides(config)
    fitted = fit_token_map(sides, corpus, config, snapshots=folder)
    save_token_map(folder / "map", fitted, sides, corpus, config)
    summary = fitted.numbers | score_token_map(
        sides, fitted, corpus, config, resamples=config.resamples
    )
    if config.gate:
        summary |= score_gate(sides, fitted, corpus, config)
    return summary


if __name__ == "__main__":
    start_program(FitTokensConfig, run)
