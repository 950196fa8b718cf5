r"""Which cut of the source and which entry of the target work.

    python -m experiments.layers --workdir=runs/layers --source=DIR_OR_ID \
      --target=DIR_OR_ID --data=NAME_FILE_OR_FOLDER --source_layers=0,1,2,3,4

One pass through both models gives the moments of all layers together; every pair of
layers gets its ridge map from a block of them, and is then run as a stitch: the
source's blocks up to the cut, the map, the target's blocks from the entry on, and its
head. States are taken before the final norm.

| measure                        | of each pair of layers                          |
|--------------------------------|-------------------------------------------------|
| test/r2                        | of the map, on token states of the test split   |
| generation/agreement_top1, ..  | teacher-forced, as in `helix_jax.generation`    |

Cost: two busy cores, 16 pairs of layers of the embedded models: 8 minutes.

That was pebble-llama -> pebble-qwen3, layers 0,2,3,4 of each, --pairs=60000
--test_pairs=4000 --max_tokens=128. Equal depths work best: agreement .42 to .44 and
1.3 to 1.5 nats on the diagonal, down to .20 off it.

Reference: arXiv 2603.18908, the layer study; stitching in the middle: Bansal et al.
  2021, arXiv 2106.07682.
"""

import dataclasses
import itertools
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from experiments.layer_blocks import pair_line, result_blocks
from experiments.shared.about import about_tokens, show, show_saved
from experiments.shared.maps import choose_map
from experiments.shared.options import (
    TextOptions,
    dtype_option,
    resamples_option,
    seed_option,
    workdir_option,
)
from experiments.shared.sides import open_corpus
from experiments.shared.token_sides import (
    MODEL,
    TokenSides,
    load_token_sides,
    sample_texts,
)
from helix_jax.activations.token_pairs import TokenPairs
from helix_jax.activations.token_states import layer_side
from helix_jax.alignment import Moments, accumulate, evaluate_map, mean_map
from helix_jax.generation.metrics import teacher_forced
from helix_jax.generation.scores import generation_scores
from helix_jax.generation.stitch import stitch
from helix_jax.models import resolve_layers
from helix_jax.progress import Progress, bar, stage
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
class LayersConfig(TextOptions):
    """Flags of the experiment."""

    workdir: str = workdir_option()
    source: str = option("", MODEL, names="model", required=True, tiny="pebble-llama")
    target: str = option("", MODEL, names="model", required=True, tiny="pebble-qwen3")
    source_layers: tuple[int, ...] = option((), "cuts of the source; empty: all")
    target_layers: tuple[int, ...] = option((), "entries of the target; empty: all")
    dtype: str = dtype_option()
    max_tokens: int = option(256, "longer texts lose their end", least=2)
    pairs: int = option(200_000, "token pairs to fit on", least=1)
    select_pairs: int = option(20_000, "token pairs to choose penalties on", least=1)
    test_pairs: int = option(10_000, "token pairs to score on", least=1)
    resamples: int = resamples_option(1000)
    seed: int = seed_option("of the controls")
    tiny: bool = option(False, "4,000 token pairs, first and last layer")


class Layers(NamedTuple):
    """Layer numbers of both sides, absolute."""

    source: tuple[int, ...]
    target: tuple[int, ...]


def run(config: LayersConfig) -> dict[str, float]:
    """Sweep; see the module docstring."""
    config = prepare_config(
        config,
        tiny={
            "pairs": 4000,
            "select_pairs": 1000,
            "test_pairs": 1000,
            "max_tokens": 64,
            "resamples": 50,
            "source_layers": (0, -1),
            "target_layers": (0, -1),
        },
    )
    check_inputs(config)
    directory = open_run(config.workdir, config)
    if is_done(directory):
        show_saved(directory)
        return read_summary(directory)
    corpus = open_corpus(config)
    summary = sweep(load_token_sides(config), corpus, config)
    show(directory, result_blocks(summary), _about(config, summary))
    return finish_run(directory, summary)


def _about(config: LayersConfig, summary: dict[str, float]) -> str:
    one = next(name for name in summary if name.endswith("generation/documents"))
    start = one.removesuffix("generation/documents")
    names = ("generation/documents", "generation/tokens", "fit/pairs")
    return about_tokens(config, {name: summary[f"{start}{name}"] for name in names})


def sweep(sides: TokenSides, corpus: Corpus, config: LayersConfig) -> dict[str, float]:
    """All measures of every pair of layers, under SOURCE-TARGET/measure."""
    layers = Layers(
        *(
            resolve_layers(model.spec, wanted or range(model.spec.num_layers + 1))
            for model, wanted in (
                (sides.source, config.source_layers),
                (sides.target, config.target_layers),
            )
        )
    )
    moments = {
        split: joint_moments(sides, corpus, split, layers, config, limit)
        for split, limit in (
            ("fit", config.pairs),
            ("select", config.select_pairs),
            ("test", config.test_pairs),
        )
    }
    texts = sample_texts(
        corpus, "test", config.test_pairs, max_tokens=config.max_tokens
    )
    summary = {}
    cells = itertools.product(enumerate(layers.source), enumerate(layers.target))
    count = len(layers.source) * len(layers.target)
    for (i, source_layer), (j, target_layer) in bar(
        cells, "pairs of layers", total=count
    ):
        own = {
            split: layer_moments(joint, i, j, sides) for split, joint in moments.items()
        }
        chosen = choose_map(own)
        parts = stitch(
            sides.source,
            sides.target,
            chosen.fit.map,
            source_layer=source_layer,
            target_layer=target_layer,
            source_norm=False,
            target_norm=False,
        )
        with Progress("scoring a pair of layers", unit="texts read") as shown:
            scored = teacher_forced(
                parts,
                sides.target,
                sides.source_tokenizer,
                sides.target_tokenizer,
                partial(shown.over, texts),
                controls={"mean": mean_map(own["fit"])},
                key=jax.random.key(config.seed),
                max_tokens=config.max_tokens,
                one_shape=True,
            )
        with stage("intervals over documents"):
            found = generation_scores(scored, resamples=config.resamples)
        found["test/r2"] = float(evaluate_map(chosen.fit.map, own["test"]).r2)
        found["fit/pairs"] = int(own["fit"].count)
        found["fit/penalty"] = float(chosen.fit.penalty)
        place = f"{source_layer}-{target_layer}"
        summary |= {
            f"{place}/{name}": value
            for name, value in found.items()
            if "_position_" not in name
        }
        print(pair_line(source_layer, target_layer, found), flush=True)
    return summary


def joint_moments(
    sides: TokenSides,
    corpus: Corpus,
    split: str,
    layers: Layers,
    config: LayersConfig,
    limit: int,
) -> Moments:
    """Moments of all layers of a side beside each other, in one pass.

    A matrix of (layers x width)^2 float64 is held for each side: name some layers of a
    large model, not all.
    """
    texts = sample_texts(corpus, split, limit, max_tokens=config.max_tokens)
    shown = Progress(f"token states of all layers, {split} split", unit="texts read")
    pairs = TokenPairs(
        layer_side(
            sides.source, sides.source_tokenizer, layers=layers.source, normed=False
        ),
        layer_side(
            sides.target, sides.target_tokenizer, layers=layers.target, normed=False
        ),
        lambda: shown.over(texts),
        max_tokens=config.max_tokens,
        block_rows=min(8192, limit),
    )

    def rows():
        for number, block in enumerate(pairs):
            if number * pairs.block_rows >= limit:
                return
            yield np.concatenate(block.x, axis=1), np.concatenate(block.y, axis=1)

    with shown:
        return accumulate(rows())


def layer_moments(joint: Moments, i: int, j: int, sides: TokenSides) -> Moments:
    """The block of layer i of the source and layer j of the target."""
    dx, dy = sides.source.spec.width, sides.target.spec.width
    x, y = slice(i * dx, (i + 1) * dx), slice(j * dy, (j + 1) * dy)
    return Moments(
        joint.count,
        *(
            np.asarray(part)
            for part in (
                joint.mean_x[x],
                joint.mean_y[y],
                joint.cov_xx[x, x],
                joint.cov_xy[x, y],
                joint.cov_yy[y, y],
            )
        ),
    )


if __name__ == "__main__":
    start_program(LayersConfig, run)
