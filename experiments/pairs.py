r"""Every ordered pair of some models: the target's classifier on the source's states.

    python -m experiments.pairs --workdir=runs/pairs --models=A,B,C --data=trec

States of each model are extracted once; every pair is a run of experiments.classify in
its own folder, with all its arms and controls (its flags are accepted here too).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping
from pathlib import Path

from experiments.shared.about import BRACKETS, about_models
from experiments.shared.options import (
    ModelsOptions,
    public_option,
    require_distinct,
    resamples_option,
    seeds_option,
)
from helix_jax.models import model_name
from helix_jax.reports import (
    Block,
    Quantity,
    arm_table,
    cross_bars,
    cross_matrix,
    read_interval,
)
from helix_jax.runs import Report, Run, experiment, option
from helix_jax.stats import Interval

if __name__ != "__main__":  # slow, and flags are read without
    from experiments import classify
    from experiments.shared.sides import with_stores

SHOWN = ("target", "mapped", "source", "shuffled", "random", "majority")
COLUMNS = {
    "similarity/linear_cka": Quantity("linear CKA"),
    "fit/r2": Quantity("map R2"),
    **{f"test/{arm}_accuracy": Quantity(f"{arm}, %", 100, 1) for arm in SHOWN},
}
Results = Mapping[tuple[str, str], Mapping[str, float]]  # (source, target) -> summary


@dataclasses.dataclass(frozen=True)
class PairsConfig(ModelsOptions):
    """Flags of the experiment."""

    public: str = public_option()
    seeds: int = seeds_option()
    resamples: int = resamples_option()
    max_pairs: int = option(0, "stop after this many pairs; 0: all", least=0)
    tiny: bool = option(False, "600 texts, 64 tokens each at most")


def require_names(config: PairsConfig, _: object) -> None:
    """Refuse models whose results would have the same name."""
    require_distinct("models", list(map(short_name, config.models)))


@experiment(check=require_names)
def compute(config: PairsConfig, _: Run) -> Report:
    """Classify every pair; see the module docstring."""
    results = run_pairs(config)
    about = about_pairs(config.data, results)
    numbers, blocks = pair_numbers(results), result_blocks(results)
    return Report(numbers, blocks, about, answer=pairs_answer(results))


def run_pairs(config: PairsConfig) -> Results:
    """The summary of every ordered pair; a finished pair is only read."""
    shared = vars(with_stores(config))
    pairs = list(itertools.permutations(config.models, 2))
    results = {}
    for source, target in pairs[: config.max_pairs or None]:
        names = short_name(source), short_name(target)
        workdir = str(Path(config.workdir) / "-to-".join(names))
        results[names] = classify.run(
            classify.compute.config(
                shared, workdir=workdir, source=source, target=target
            )
        )
    return results


def short_name(name: str) -> str:
    """A model's name as a folder name."""
    return model_name(name).replace("/", "--").replace(":", "-")


def about_pairs(data: str, results: Results) -> str:
    """About all pairs: the models, and the texts, which are the same for each."""
    names = ", ".join(_names(results))
    return about_models(f"pairs of {names}", data, next(iter(results.values())))


def lost_points(results: Results) -> dict[tuple[str, str], float]:
    """Points of accuracy that the map costs the target's classifier, of each pair."""
    return {
        pair: 100 * (summary["test/target_accuracy"] - summary["test/mapped_accuracy"])
        for pair, summary in results.items()
    }


def pairs_answer(results: Results) -> str:
    """What the map costs over all pairs, in a sentence."""
    lost = list(lost_points(results).values())
    mapped, own, shuffled = (
        100 * sum(one[f"test/{arm}_accuracy"] for one in results.values()) / len(lost)
        for arm in ("mapped", "target", "shuffled")
    )
    ends = dict.fromkeys(f"{of(lost):.1f}" for of in (min, max))
    cost = " to ".join(ends)
    return (
        f"The target's classifier is right on {mapped:.1f}% of the test texts with the "
        f"source's mapped states, on {own:.1f}% with the target's own, and on "
        f"{shuffled:.1f}% with a map of shuffled pairs (means over ordered pairs: "
        f"{len(lost)}); the map costs {cost} points."
    )


def pair_numbers(results: Results) -> dict[str, float]:
    """SOURCE/TARGET/name -> number."""
    return {
        f"{source}/{target}/{name}": value
        for (source, target), summary in results.items()
        for name, value in summary.items()
    }


def result_blocks(results: Results) -> list[Block]:
    """The pairs as a table, as bars, and what is lost as a matrix."""
    title, models = "Accuracy of the target's classifier", _names(results)
    lost = lost_points(results)
    return [
        arm_table(
            title,
            pair_numbers(results),
            {"/".join(pair): " -> ".join(pair) for pair in results},
            COLUMNS,
            lambda name, pair: f"{pair}/{name}",
            corner="source -> target",
            note="target: the classifier on its own model's states, the ceiling of a "
            "map; mapped: on the source's states after the affine map, the result; "
            "source: a classifier trained on the source's own states; shuffled, "
            "random, majority: controls that ignore the pairing. CKA and R2 "
            f"are of the test split. {BRACKETS}",
        ),
        cross_bars(
            f"{title}, with controls",
            Quantity("accuracy, %", 100),
            {pair: "\nto ".join(pair) for pair in results},
            {arm: classify.ARMS[arm] for arm in SHOWN},
            lambda pair, arm: Interval(
                *read_interval(results[pair], f"test/{arm}_accuracy")
            ),
        ),
        cross_matrix(
            "Accuracy lost by the map, source (row) to target (column)",
            "points",
            dict(zip(models, models)),
            dict(zip(models, models)),
            lambda source, target: lost.get((source, target), math.nan),
            limits=(min(0.0, *lost.values()), max(1.0, *lost.values())),
        ),
    ]


def _names(results: Results) -> list[str]:
    return sorted({name for pair in results for name in pair})


run = compute.run

if __name__ == "__main__":
    compute.main()
