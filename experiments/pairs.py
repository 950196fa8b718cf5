r"""Every ordered pair of some models: the target's classifier on the source's states.

    python -m experiments.pairs --workdir=runs/pairs --models=A,B,C --data=trec

Each model is extracted once; every pair is a run of experiments.classify in a folder of
its own, with all its arms and controls (its flags are taken here too).
"""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

from experiments import classify
from experiments.classify import ARMS
from experiments.shared.about import BRACKETS, about, short_data, show, show_saved
from experiments.shared.options import (
    ExtractionOptions,
    TextOptions,
    models_option,
    public_option,
    require_distinct,
    resamples_option,
    seeds_option,
    workdir_option,
)
from experiments.shared.sides import with_stores
from helix_jax.models import model_name
from helix_jax.reports import Bars, Block, Matrix, Table, format_interval
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

SHOWN = ("target", "mapped", "source", "shuffled", "random", "majority")
Results = dict[tuple[str, str], dict[str, float]]  # (source, target) -> summary


@dataclasses.dataclass(frozen=True)
class PairsConfig(TextOptions, ExtractionOptions):
    """Flags of the experiment."""

    workdir: str = workdir_option()
    models: tuple[str, ...] = models_option()
    public: str = public_option()
    seeds: int = seeds_option()
    resamples: int = resamples_option()
    max_pairs: int = option(0, "stop after so many pairs; 0: all", least=0)
    tiny: bool = option(False, "600 texts, 64 tokens each at most")


def run(config: PairsConfig) -> dict[str, float]:
    """Classify every pair; see the module docstring."""
    config = prepare_config(config)
    require_distinct("models", list(map(short_name, config.models)))
    check_inputs(config)
    directory = open_run(config.workdir, config)
    results = run_pairs(config)
    if is_done(directory):
        show_saved(directory)
        return read_summary(directory)
    show(directory, result_blocks(results), about_pairs(config, results))
    return finish_run(directory, flatten(results))


def about_pairs(config: Any, results: Results) -> str:
    """About all pairs: the models, and the texts, which are the same for each."""
    first = next(iter(results.values()))
    names = sorted({name for pair in results for name in pair})
    documents = first["data/test_documents"]
    return about(
        f"pairs of {', '.join(names)}",
        short_data(config.data),
        f"{first['data/fit_texts']:,} texts to fit on",
        f"{first['data/test_texts']:,} to test on (of {documents:,} documents)",
        documents=documents,
    )


def run_pairs(config: PairsConfig) -> Results:
    """The summary of every ordered pair; a pair that has ended is only read."""
    options = with_stores(config)
    shared = {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(classify.ClassifyConfig)
        if hasattr(options, field.name) and field.name != "workdir"
    }
    results = {}
    for source, target in itertools.permutations(config.models, 2):
        if config.max_pairs and len(results) == config.max_pairs:
            break
        pair = short_name(source), short_name(target)
        results[pair] = classify.run(
            classify.ClassifyConfig(
                workdir=str(Path(config.workdir) / "-to-".join(pair)),
                source=source,
                target=target,
                **shared,
            )
        )
    return results


def short_name(name: str) -> str:
    """A model's name as a folder name."""
    return model_name(name).replace("/", "--").replace(":", "-")


def flatten(results: Results) -> dict[str, float]:
    """SOURCE/TARGET/name -> number."""
    return {
        f"{source}/{target}/{name}": value
        for (source, target), one in results.items()
        for name, value in one.items()
    }


def result_rows(results: Results) -> tuple[list[str], list[list[object]]]:
    """Header and rows of the table of pairs, accuracies in percent."""
    rows = [
        [
            f"{source} -> {target}",
            one["similarity/linear_cka"],
            one["fit/r2"],
            *(format_interval(one, f"test/{arm}_accuracy") for arm in SHOWN),
        ]
        for (source, target), one in results.items()
    ]
    titles = [f"{arm}, %" for arm in SHOWN]
    return ["source -> target", "linear CKA", "map R2", *titles], rows


def result_blocks(results: Results) -> list[Block]:
    """The pairs as a table, as bars, and what is lost as a matrix."""
    ends = ("", "_low", "_high")
    names = sorted({name for pair in results for name in pair})
    lost = [
        [_lost(results.get((source, target))) for target in names] for source in names
    ]
    found = [value for row in lost for value in row if value == value]
    return [
        Table(
            "Accuracy of the target's classifier",
            *result_rows(results),
            note="target: the classifier on its own model's states, the ceiling of a "
            "map; mapped: on the source's states after the affine map, the result; "
            "source: a classifier trained on the source's own states; shuffled, "
            "random, majority: controls that know nothing of the pairing. CKA and R2 "
            f"are of the test split. {BRACKETS}",
        ),
        Bars(
            "Accuracy of the target's classifier, with controls",
            "accuracy, %",
            [f"{source}\nto {target}" for source, target in results],
            {
                ARMS[arm]: [
                    [100 * one[f"test/{arm}_accuracy{end}"] for end in ends]
                    for one in results.values()
                ]
                for arm in SHOWN
            },
        ),
        Matrix(
            "Accuracy lost by the map, source (row) to target (column)",
            "points",
            names,
            names,
            lost,
            limits=(min(0.0, *found), max(1.0, *found)),
        ),
    ]


def _lost(one: dict[str, float] | None) -> float:
    """Points of accuracy between the target's own states and mapped ones."""
    if one is None:
        return float("nan")
    return 100 * (one["test/target_accuracy"] - one["test/mapped_accuracy"])


if __name__ == "__main__":
    start_program(PairsConfig, run)
