r"""At which cut of the source and entry of the target does a stitch work?

    python -m experiments.layers --workdir=runs/layers --source=DIR_OR_ID \
      --target=DIR_OR_ID --data=NAME_FILE_OR_FOLDER --source_layers=0,1,2,3,4

One pass through both models gives the joint moments of all layers; every pair of layers
gets its ridge map from its block of the moments, and is then run as a stitch: the
source's blocks up to the cut, the map, the target's blocks from the entry on, and its
head. States are taken before the final norm.

| measure                        | of each pair of layers                          |
|--------------------------------|-------------------------------------------------|
| test/r2                        | of the map, on token states of the test split   |
| generation/agreement_top1, ..  | teacher-forced, as in `helix_jax.generation`    |

Cost: two busy cores, 16 pairs of layers of the embedded models: 8 minutes.

This was measured for pebble-llama -> pebble-qwen3, layers 0,2,3,4 of each, with
--pairs=60000 --test_pairs=4000 --max_tokens=128. Equal depths work best: agreement is
.42 to .44, at 1.3 to 1.5 nats, on the diagonal, and down to .20 off it.

Reference: arXiv 2603.18908, the layer study; stitching in the middle: Bansal et al.
  2021, arXiv 2106.07682.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping

from experiments.shared.about import BRACKETS, about_tokens
from experiments.shared.options import resamples_option, seed_option
from experiments.shared.token_options import TokenOptions
from helix_jax.progress import Progress, bar
from helix_jax.reports import (
    Block,
    Quantity,
    Table,
    cross_matrix,
    format_interval,
    read_interval,
)
from helix_jax.runs import Report, Run, experiment, option
from helix_jax.stats import Interval
from helix_jax.text.hashing import SPLITS

if __name__ != "__main__":  # slow, and flags are read without
    import jax

    from experiments.shared.sides import open_corpus
    from experiments.shared.token_sides import load_token_sides
    from helix_jax.activations.layer_moments import Layers
    from helix_jax.generation.layer_pairs import read_layer_moments, score_layers
    from helix_jax.generation.token_sides import sample_texts
    from helix_jax.models import chosen_layers
    from helix_jax.transfer.pair_fit import choose_map

MAPS = {  # measure -> title, unit
    "test/r2": ("R2 of the map", "R2"),
    "generation/agreement_top1": ("Agreement with the target", "share of tokens"),
    "generation/kl_nats": ("Divergence from the target", "nats"),
}
AGREEMENT = "generation/agreement_top1"
CELLS = {  # of a pair of layers
    "test/r2": Quantity("R2", form=3),
    "generation/agreement_top1": Quantity("agreement", form=3),
    "generation/agreement_top1_mean": Quantity("control: the mean", form=3),
    "generation/agreement_top1_random_head": Quantity("control: permuted head", form=3),
    "generation/kl_nats": Quantity("KL, nats", form=2),
    "generation/perplexity_mapped": Quantity("perplexity of held-out text", form=1),
}

Scores = Mapping[str, float | Interval]


@dataclasses.dataclass(frozen=True)
class LayersConfig(TokenOptions):
    """Flags of the experiment."""

    source_layers: tuple[int, ...] = option((), "cuts of the source; empty: all")
    target_layers: tuple[int, ...] = option((), "entries of the target; empty: all")
    pairs: int = option(200_000, "token pairs to fit on", least=1)
    select_pairs: int = option(20_000, "token pairs to choose penalties on", least=1)
    test_pairs: int = option(10_000, "token pairs to score on", least=1)
    resamples: int = resamples_option(1000)
    seed: int = seed_option("of the controls")
    tiny: bool = option(False, "4,000 token pairs, first and last layer")


@experiment(
    tiny={
        "pairs": 4000,
        "select_pairs": 1000,
        "test_pairs": 1000,
        "max_tokens": 64,
        "resamples": 50,
        "source_layers": (0, -1),
        "target_layers": (0, -1),
    }
)
def compute(config: LayersConfig, _: Run) -> Report:
    """Sweep; see the module docstring."""
    corpus, sides = open_corpus(config), load_token_sides(config)
    layers = tuple(
        chosen_layers(model.spec, wanted)
        for model, wanted in zip(
            sides.models, (config.source_layers, config.target_layers)
        )
    )
    most, texts, moments = {"max_tokens": config.max_tokens}, {}, {}
    limits = (config.pairs, config.select_pairs, config.test_pairs)
    for split, limit in zip(SPLITS, limits):
        texts[split] = sample_texts(corpus, split, limit, **most)
        title = f"token states of all layers, {split} split"
        with Progress(title, unit="texts read") as shown:
            moments[split] = read_layer_moments(
                sides, texts[split], shown, layers, limit=limit, **most
            )
    cells: dict[tuple[int, int], Scores] = {}
    for pair in bar(list(itertools.product(*layers)), "pairs of layers"):
        of_pair = {split: every.of_pair(*pair) for split, every in moments.items()}
        cells[pair] = score_layers(
            sides,
            pair,
            choose_map(of_pair).fit,
            of_pair,
            texts["test"],
            key=jax.random.key(config.seed),
            resamples=config.resamples,
            **most,
        )
        print(pair_line(pair, cells[pair]), flush=True)
    numbers = {
        f"{source}-{target}/{name}": value
        for (source, target), scores in cells.items()
        for name, value in scores.items()
    }
    about = about_tokens(config, next(iter(cells.values())))
    best = max(cells, key=lambda pair: _value(cells[pair], AGREEMENT))
    answer = CELLS[AGREEMENT].fill(
        f"Of {len(cells)} pairs of layers, source layer {best[0]} to target layer "
        f"{best[1]} works best: the target's head agrees with its own first choice on "
        f"{{{AGREEMENT}}} of the tokens.",
        cells[best],
    )
    return Report(numbers, layer_blocks(cells, layers), about, answer=answer)


def pair_line(pair: tuple[int, int], scores: Scores) -> str:
    """A pair of layers in a line, as soon as it is scored."""
    measures = ", ".join(
        f"{CELLS[name].title} {_value(scores, name):.{CELLS[name].form}f}"
        for name in MAPS
    )
    return f"source layer {pair[0]}, target layer {pair[1]}: {measures}"


def layer_blocks(
    cells: Mapping[tuple[int, int], Scores], layers: Layers
) -> list[Block]:
    """A matrix of layers for each measure, and all pairs with their controls."""
    rows, columns = ({layer: str(layer) for layer in sorted(side)} for side in layers)
    pairs = list(itertools.product(rows, columns))
    blocks: list[Block] = []
    for measure, (title, label) in MAPS.items():
        values = {pair: _value(cells[pair], measure) for pair in pairs}
        worst = max(values.values()) if measure == "generation/kl_nats" else 1.0
        blocks.append(
            cross_matrix(
                f"{title}, by layers",
                label,
                rows,
                columns,
                lambda source, target, values=values: values[source, target],
                limits=(0.0, worst),
                row_label="cut of the source, blocks before it",
                column_label="entry of the target, blocks before it",
            )
        )
    table = [
        [*pair, *(shown.cell(cells[pair], name) for name, shown in CELLS.items())]
        for pair in pairs
    ]
    header = ["source layer", "target layer", *(q.title for q in CELLS.values())]
    last = cells[pairs[-1]]
    alone = format_interval(last, "generation/perplexity_native_target", scale=1)
    note = (
        "A layer is the number of blocks before the cut of the source and the entry of "
        "the target. Agreement is the share of tokens whose first choice is the "
        f"target's. Teacher-forced. {BRACKETS} The target alone has perplexity {alone}."
    )
    return [*blocks, Table("Every pair of layers", header, table, note=note)]


def _value(scores: Scores, name: str) -> float:
    return read_interval(scores, name)[0]


run = compute.run

if __name__ == "__main__":
    compute.main()
