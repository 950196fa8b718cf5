r"""Extract the hidden states of a corpus to a store; a killed run resumes.

    python -m experiments.extract --workdir=runs/states --model=DIR_OR_ID \
      --data=NAME_FILE_OR_FOLDER [--layers=-1,6] [--pooling=mean] [--stores=gs://B/P]

There is one store per split, in --stores. A run that is killed at any moment and
started again with the same flags ends with the same bytes.

Cost: two cores, a model of 1.3 M parameters: some 50,000 tokens a second.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from experiments.shared.about import about, short_data
from experiments.shared.options import (
    ExtractionOptions,
    TextOptions,
    layers_option,
    workdir_option,
)
from experiments.shared.token_options import MODEL
from helix_jax.models import model_name
from helix_jax.progress import stage
from helix_jax.reports import Table
from helix_jax.runs import Report, Run, experiment, option
from helix_jax.text.corpus import SPLITS

if __name__ != "__main__":  # slow, and flags are read without
    from experiments.shared.sides import Side, open_corpus, states_of, with_stores
    from helix_jax.models import load_tokenizer
    from helix_jax.models.engines import load_model_by


@dataclasses.dataclass(frozen=True)
class ExtractConfig(TextOptions, ExtractionOptions):
    """Flags of the experiment."""

    workdir: str = workdir_option()
    model: str = option("", MODEL, names="model", required=True, tiny="pebble-llama")
    revision: str = option("", "branch, tag or commit of a hub id")
    layers: tuple[int, ...] = layers_option()
    splits: tuple[str, ...] = option(
        SPLITS, "splits to extract", choices=SPLITS, required=True
    )
    tiny: bool = option(False, "200 texts, 64 tokens each at most")


@experiment(tiny={"limit": 200, "max_tokens": 64})
def compute(config: ExtractConfig, _: Run) -> Report:
    """Extract every split; see the module docstring."""
    corpus = open_corpus(config, least=dict.fromkeys(config.splits, 1))
    revision = config.revision or None
    with stage(f"loading {model_name(config.model)}"):
        model = load_model_by(
            config.engine,
            config.model,
            dtype=config.dtype,
            revision=revision,
            mesh=config.mesh,
        )
        tokenizer = load_tokenizer(config.model, revision=revision)
    side = Side(model_name(config.model), config.layers, model, tokenizer, None)
    numbers, rows = {}, []
    for split in config.splits:
        store = states_of(side, corpus, split, with_stores(config))
        numbers |= {f"{split}/{name}": count for name, count in store.counts.items()}
        speed = store.throughput.get("tokens_per_second")
        if speed is not None:
            numbers[f"{split}/tokens_per_second"] = speed
        counts = [store.counts[name] for name in ("rows", "tokens", "truncated")]
        rows.append([split, *counts, store.name])
    header = ["split", "rows", "tokens", "truncated texts", "store"]
    table = Table("States of texts", header, rows)
    rows_of_all = sum(numbers[f"{split}/rows"] for split in config.splits)
    told = about(side.name, short_data(config.data), f"{rows_of_all:,} rows")
    answer = extract_answer(numbers, config)
    return Report(numbers, [table], told, answer=answer)


def extract_answer(numbers: Mapping[str, float], config: ExtractConfig) -> str:
    """How many texts and tokens were read, over all splits."""
    rows, tokens, cut = (
        f"{sum(numbers[f'{split}/{name}'] for split in config.splits):,}"
        for name in ("rows", "tokens", "truncated")
    )
    return (
        f"The states of {rows} texts are stored, from {tokens} tokens; {cut} of the "
        f"texts were truncated to {config.max_tokens:,} tokens."
    )


run = compute.run

if __name__ == "__main__":
    compute.main()
