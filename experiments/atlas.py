r"""Maps between all layers of all models of a list, with cards, ready to be pushed.

    python -m experiments.atlas --workdir=runs/atlas --models=A,B,C --layers=-1,-4 \
      --data=NAME_FILE_OR_FOLDER

Each model is run once for all its layers. Every ordered pair of layers of different
models gets a ridge map, with its penalty chosen on the select split, and uninformed
maps as controls (shuffled pairs, a random rotation); if texts have classes, the
target's classifier reads the mapped states. WORKDIR/maps has a folder for each map,
with its card and the confidence of its rows, and a card of all maps:

    push_maps("runs/atlas/maps", "OWNER/NAME")
    load_map("hub:OWNER/NAME/A@12--to--B@6")

A killed run resumes after the last finished pair.

Cost: two busy cores, two sentence encoders with states extracted before, 5,380
texts of six classes: five minutes.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.shared.about import BRACKETS, about_models, short_data
from experiments.shared.options import (
    TINY_TEXTS,
    ModelsOptions,
    layers_option,
    require_distinct,
    resamples_option,
    seed_option,
)
from helix_jax.alignment import MapCard
from helix_jax.artefacts import README
from helix_jax.errors import RunError
from helix_jax.models import model_name
from helix_jax.progress import bar
from helix_jax.reports import Block, Quantity, arm_table, cross_matrix, read_interval
from helix_jax.runs import (
    Report,
    Run,
    experiment,
    flat_numbers,
    option,
    write_atomically,
)
from helix_jax.text.corpus import Corpus
from helix_jax.text.hashing import SPLITS, document_of
from helix_jax.textfile import read_json

if __name__ != "__main__":  # slow, and flags are read without
    from experiments.shared.map_facts import licences_of, scored_confidence
    from experiments.shared.sides import folder_name, open_corpus, stores_of_models
    from helix_jax.alignment.map_cards import atlas_card
    from helix_jax.maps_numpy import read_map
    from helix_jax.transfer.atlas import Node, fit_both, score_fit
    from helix_jax.transfer.pair_fit import PairFit

COLUMNS = {
    "test/r2": Quantity("R2", form=3),
    "test/shuffled_r2": Quantity("R2, shuffled pairs", form=3),
    "test/random_r2": Quantity("R2, random rotation", form=2),
    "similarity/linear_cka": Quantity("linear CKA", form=".3f"),
    "test/target_accuracy": Quantity("target, %", 100, 1),
    "test/mapped_accuracy": Quantity("mapped, %", 100, 1),
    "test/source_accuracy": Quantity("source, %", 100, 1),
    "test/shuffled_accuracy": Quantity("shuffled, %", 100, 1),
    "test/random_accuracy": Quantity("random, %", 100, 1),
    "test/largest_class_accuracy": Quantity("largest class, %", 100, 1),
    "confidence/cosine": Quantity("cosine", form=3),
    "confidence/cosine_coverage": Quantity(
        "rows at or above the bound of 90%, %", 100, 1
    ),
    "confidence/cosine_correlation": Quantity("cosine predicted, correlation", form=2),
}
MATRICES = {  # number -> title, unit
    "test/r2": ("R2 of the map", "R2"),
    "test/shuffled_r2": ("Control: R2 of a map of shuffled pairs", "R2"),
    "test/mapped_accuracy": ("Accuracy of the target's classifier", "share"),
    "test/shuffled_accuracy": (
        "Control: the same with a map of shuffled pairs",
        "share",
    ),
}
Results = Mapping[str, Mapping[str, float]]  # name of a map -> its numbers


@dataclasses.dataclass(frozen=True)
class AtlasConfig(ModelsOptions):
    """Flags of the experiment."""

    layers: tuple[int, ...] = layers_option()
    resamples: int = resamples_option(1000)
    seed: int = seed_option("of the controls")
    tiny: bool = option(False, "600 texts, 64 tokens each at most")


def require_names(config: AtlasConfig, _: object) -> None:
    """Refuse models whose maps would have the same name."""
    require_distinct("models", list(map(model_name, config.models)))


@experiment(tiny=TINY_TEXTS | {"resamples": 200}, check=require_names)
def compute(config: AtlasConfig, run: Run) -> Report:
    """Extract, fit every pair; see the module docstring."""
    corpus = open_corpus(config)
    nodes = read_nodes(config, corpus)
    results = fit_pairs_of(config, nodes, run.folder)
    configs = {
        name: dict(read_map(run.folder / "maps" / name).config) for name in results
    }
    write_atomically(run.folder / "maps" / README, atlas_card(configs))
    counts = {
        f"data/{split}_texts": len(nodes[0].stores[split].ids) for split in SPLITS
    }
    ids = nodes[0].stores["test"].ids
    counts["data/test_documents"] = len(set(map(document_of, ids)))
    counts["atlas/maps"] = len(results)
    numbers = counts | {
        f"{pair}/{name}": value
        for pair, own in results.items()
        for name, value in own.items()
    }
    names = [node.name for node in nodes]
    about = about_models(f"maps between {', '.join(names)}", config.data, numbers)
    blocks = atlas_blocks(results, names, numbers)
    return Report(numbers, blocks, about, answer=atlas_answer(results))


def read_nodes(config: AtlasConfig, corpus: Corpus) -> list[Node]:
    """Every layer of every model; the states are extracted where they are missing."""
    nodes = []
    for given, (side, stores) in zip(config.models, stores_of_models(config, corpus)):
        start = folder_name(side.name.replace("/", "--").replace(":", "-"))
        for layer in stores["fit"].layers:
            views = {split: store.only(layer) for split, store in stores.items()}
            name = f"{start}@{layer}"
            nodes.append(Node(name, side.name, given, views, corpus.classes))
    return nodes


def fit_pairs_of(config: AtlasConfig, nodes: Sequence[Node], folder: Path) -> Results:
    """The numbers of every ordered pair; those of finished pairs are only read."""
    pairs = [(a, b) for a, b in itertools.combinations(nodes, 2) if a.model != b.model]
    (folder / "pairs").mkdir(exist_ok=True)
    results: dict[str, Mapping[str, float]] = {}
    for a, b in bar(pairs, "pairs of layers fitted"):
        done = {name: _file(folder, name) for name in (_pair(a, b), _pair(b, a))}
        if not all(path.exists() for path in done.values()):
            for source, target, fitted in fit_both(a, b):
                fit_one(config, folder, source, target, fitted)
        for name, path in done.items():
            results[name] = read_json(path, raises=RunError)
    return dict(sorted(results.items()))


def fit_one(
    config: AtlasConfig, folder: Path, source: Node, target: Node, fitted: PairFit
) -> None:
    """Score a map, and write its folder and then its numbers."""
    numbers = score_fit(
        source, target, fitted, seed=config.seed, resamples=config.resamples
    )
    confidence, scores = scored_confidence(fitted, resamples=config.resamples)
    numbers |= scores
    card = MapCard(
        short_data(config.data),
        {split: int(own.count) for split, own in fitted.moments.items()},
        {k: v for k, v in numbers.items() if not k.startswith("fit/")},
        licences_of(source.given, target.given),
    )
    name = _pair(source, target)
    fitted.save(folder / "maps" / name, card=card, confidence=confidence)
    write_atomically(_file(folder, name), json.dumps(flat_numbers(numbers), indent=1))


def atlas_answer(results: Results) -> str:
    """The scores of the best and the worst map, in a sentence."""
    numbers = next(iter(results.values()))
    labelled = "test/mapped_accuracy" in numbers
    name = "test/mapped_accuracy" if labelled else "test/r2"
    order = sorted(results, key=lambda pair: results[pair][name], reverse=True)
    best, worst = (
        f"{COLUMNS[name].told(results[pair], name)} ({pair.replace('--to--', ' -> ')})"
        for pair in (order[0], order[-1])
    )
    what = "Accuracy of the target's classifier on mapped states" if labelled else "R2"
    return f"{what} over {len(order)} maps: from {best} to {worst}."


def atlas_blocks(
    results: Results, names: Sequence[str], numbers: Mapping[str, float]
) -> list[Block]:
    """A table of all maps, and matrices of their scores and of those of controls."""
    table = arm_table(
        "Maps between models",
        numbers,
        {name: name.replace("--to--", " -> ") for name in results},
        COLUMNS,
        lambda name, pair: f"{pair}/{name}",
        corner="source@layer -> target@layer",
        note="mapped: the target's classifier on mapped states, the result; target, "
        "source: classifiers on their own states; shuffled, random, largest class: "
        f"controls. {BRACKETS}",
    )
    titles = dict(zip(names, names))
    found = [name for name in MATRICES if any(name in own for own in results.values())]
    return [
        table,
        *(
            cross_matrix(
                f"{MATRICES[name][0]}, source (row) to target (column)",
                MATRICES[name][1],
                titles,
                titles,
                lambda a, b, name=name: read_interval(
                    results.get(f"{a}--to--{b}", {}), name
                )[0],
                limits=_limits(results, name),
            )
            for name in found
        ),
    ]


def _limits(results: Results, name: str) -> tuple[float, float]:
    values = [own[name] for own in results.values() if math.isfinite(own[name])]
    return min(0.0, *values), max(1.0, *values)


def _pair(source: Node, target: Node) -> str:
    return f"{source.name}--to--{target.name}"


def _file(folder: Path, name: str) -> Path:
    return folder / "pairs" / f"{name}.json"


run = compute.run

if __name__ == "__main__":
    compute.main()
