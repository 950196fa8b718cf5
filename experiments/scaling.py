r"""How many texts does a map need? R2, loss and accuracy against their number.

    python -m experiments.scaling --workdir=runs/scaling --source=DIR_OR_ID \
      --target=DIR_OR_ID --data=NAME_FILE_OR_FOLDER [--public=NAME_FILE_OR_FOLDER] \
      [--methods=closed]

The texts of the fit split (of --public, if it is given) are ordered by a hash of their
documents; the first 100, .. N of them are the samples, each containing the one before.
Moments of the rows between two sizes are merged into those of the smaller, so each row
is read once per order, and once for the control. Penalties and ranks are chosen anew at
each size.

The loss is the squared error of the test split over its variance, 1 - R2. The plateau
is the smallest size from which on the loss stays within --tolerance of the loss at N,
as a share of it; it counts as found if it is below N. Its interval is over test
documents. Numbers are means over --seeds orders. Controls: ridge on the same samples
with their pairs shuffled; the target's and the source's own probes.

Least squares is left out below dx + 2 texts, where it is not defined.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial

import numpy as np

from experiments.shared.about import BRACKETS, about_pair, count_texts
from experiments.shared.names import CURVE_NAMES, PROBES
from experiments.shared.options import (
    TINY_TASK,
    TaskOptions,
    choose_methods,
    methods_option,
    public_option,
    resamples_option,
    seeds_option,
)
from helix_jax.errors import RunError
from helix_jax.reports import Block, Quantity, Table, cross_curves, cross_table
from helix_jax.runs import Report, Run, experiment, option, write_metrics
from helix_jax.stats import Interval
from helix_jax.text.hashing import hashed_order

if __name__ != "__main__":  # slow, and flags are read without
    from experiments.shared.sides import open_corpus
    from experiments.shared.task import open_task
    from helix_jax.alignment import GRADIENT_METHODS, METHODS
    from helix_jax.stats import LearningCurve
    from helix_jax.transfer.growth import CONTROL, growth_curves

ACCURACY = Quantity("accuracy, %", 100, 1)
FIGURES = {  # score -> title, how it is shown
    "loss": ("Test loss", Quantity("1 - R2, share of the variance")),
    "accuracy": ("Accuracy of the target's probe", ACCURACY),
}
AT_LARGEST = {  # score -> how it is shown
    "r2": Quantity("test R2", form=3),
    "accuracy": ACCURACY,
    "plateau": Quantity("plateau, texts", form=0),
}


@dataclasses.dataclass(frozen=True)
class ScalingConfig(TaskOptions):
    """Flags of the experiment."""

    methods: tuple[str, ...] = methods_option("closed")
    public: str = public_option("to fit on instead of --data")
    least: int = option(100, "texts of the smallest sample", least=2)
    sizes: int = option(
        8, "number of sizes from --least to all, evenly by ratio", least=2
    )
    tolerance: float = option(
        0.02, "share of the loss by which a plateau may exceed it", least=0
    )
    anchors: int = option(
        300, "anchor rows of relative representations, at most", least=1
    )
    epochs: int = option(20, "epochs of gradient fits", least=1)
    seeds: int = seeds_option("orders of the texts")
    resamples: int = resamples_option(1000)
    tiny: bool = option(False, "600 texts, 64 tokens each at most, one order")


@experiment(tiny=TINY_TASK | {"seeds": 1, "sizes": 4})
def compute(config: ScalingConfig, _: Run) -> Report:
    """Fit at every size, score, locate the plateau; see the module docstring."""
    corpus = open_corpus(config, labelled=True)
    if not config.public:  # with --public its texts are counted instead
        sample_sizes(corpus.counts["fit"], config.least, config.sizes)
    opened = open_task(config, corpus, config.resamples)
    task, pairs = opened.task, opened.pairs
    numbers = count_texts(pairs)
    if config.public:
        pairs = opened.public_pairs()
    rows = {split: pairs[split].read() for split in ("fit", "select")}
    numbers |= {f"data/{split}_texts": len(x) for split, (x, _) in rows.items()}
    ids = pairs["fit"].ids
    numbers["scaling/rows"] = len(ids)
    sizes = sample_sizes(len(ids), config.least, config.sizes)
    curves = growth_curves(
        task,
        rows,
        [
            hashed_order(ids, salt=f"scaling {seed}", by_document=True)
            for seed in range(config.seeds)
        ],
        sizes,
        methods=choose_methods(config.methods, len(ids), rows["fit"][0].shape[1]),
        anchors=config.anchors,
        epochs=config.epochs,
        tolerance=config.tolerance,
    )
    headline = "ridge" if "ridge" in curves else next(iter(curves))
    numbers["scaling/plateau_rows"] = curves[headline].plateau
    for name, curve in curves.items():
        numbers[f"scaling/{name}_plateau_rows"] = curve.plateau
        numbers[f"scaling/{name}_plateau_found"] = int(curve.found)
    probes = task.probe_accuracies()
    numbers |= {f"scaling/{name}_accuracy": value for name, value in probes.items()}
    points = {
        size: {
            f"scaling/{name}_{size}_{score}": interval
            for name, curve in curves.items()
            for score, interval in curve.at(size).items()
        }
        for size in sizes
    }
    return Report(
        numbers | {name: value for at in points.values() for name, value in at.items()},
        result_blocks(curves, probes, headline),
        about_pair(config, numbers),
        files={"metrics.jsonl": partial(write_metrics, steps=points)},
        answer=plateau_answer(curves[headline], CURVE_NAMES[headline]),
    )


def sample_sizes(rows: int, least: int, count: int) -> tuple[int, ...]:
    """Sizes from `least` to all rows, evenly by ratio.

    Raises:
      RunError: there are no more rows than `least`.
    """
    if least >= rows:
        raise RunError(
            f"--least={least} needs to be below the {rows} texts of the fit split."
        )
    sizes = np.unique(np.geomspace(least, rows, count).round().astype(int))
    return tuple(map(int, sizes))


def result_blocks(
    curves: Mapping[str, LearningCurve], probes: Mapping[str, Interval], headline: str
) -> list[Block]:
    """Scores at the largest size and at all sizes; curves of loss and accuracy."""
    curves = {name: curves[name] for name in CURVE_NAMES if name in curves}
    marks, note = {}, BRACKETS
    if curves[headline].found:
        marks[f"plateau of {CURVE_NAMES[headline]}"] = float(
            curves[headline].plateau.value
        )
    else:
        note += f" {CURVE_NAMES[headline]}: no plateau, its loss falls to the end."
    blocks: list[Block] = score_tables(curves, probes, note)
    ends = curves[headline].sizes[0], curves[headline].sizes[-1]
    levels = {
        title: dict.fromkeys(ends, probes.get(name)) for name, title in PROBES.items()
    }
    groups = {"closed forms": METHODS, "gradient fits": GRADIENT_METHODS}
    for group, members in groups.items():
        drawn = {name: curve for name, curve in curves.items() if name in members}
        if not drawn:
            continue
        drawn[CONTROL] = curves[CONTROL]
        for score, (title, quantity) in FIGURES.items():
            series = {
                CURVE_NAMES[name]: {
                    at: scores[score] for at, scores in curve.points().items()
                }
                for name, curve in drawn.items()
            }
            figure = cross_curves(
                f"{title}, {group}",
                "texts to fit on",
                quantity,
                series if score == "loss" else series | levels,
                log_x=True,
                log_y=score == "loss",
                marks=marks,
                note=note,
            )
            blocks.append(figure)
    return blocks


def score_tables(
    curves: Mapping[str, LearningCurve], probes: Mapping[str, Interval], note: str
) -> list[Table]:
    """R2, accuracy, plateau: intervals at the largest size, plain numbers at all."""
    sizes, names = curves[CONTROL].sizes, {name: CURVE_NAMES[name] for name in curves}

    def at_largest(name: str, score: str) -> Interval | str | None:
        if name in PROBES:
            return probes.get(name) if score == "accuracy" else None
        curve = curves[name]
        return plateau(curve) if score == "plateau" else curve.at(sizes[-1]).get(score)

    def at_all(name: str, column: int | str) -> Interval | str | None:
        curve = curves[name]
        return plateau(curve) if column == "plateau" else both_scores(curve.at(column))

    by_size = {size: Quantity(f"{size:,}", form=3) for size in sizes}
    return [
        cross_table(
            f"Maps fitted on {sizes[-1]} texts",
            "method",
            names | PROBES,
            AT_LARGEST,
            at_largest,
            note=note,
        ),
        cross_table(
            "R2 and accuracy by texts to fit on",
            "R2; accuracy, % by texts to fit on",
            names,
            by_size | {"plateau": AT_LARGEST["plateau"]},
            at_all,
            note=note,
        ),
    ]


def plateau(curve: LearningCurve) -> Interval | str:
    """Where the loss stops falling, in texts; or that it does not."""
    return curve.plateau if curve.found else "none: still falling"


def plateau_answer(curve: LearningCurve, name: str) -> str:
    """How many texts a method needs, in a sentence."""
    last = curve.sizes[-1]
    start = (
        f"On {last:,} texts {name} has test R2 "
        f"{AT_LARGEST['r2'].told(curve.at(last), 'r2')}; its loss "
    )
    if not curve.found:
        return f"{start}still falls there."
    enough = AT_LARGEST["plateau"].told({"": curve.plateau}, "")
    return f"{start}stops falling at {enough} texts."


def both_scores(scores: Mapping[str, Interval]) -> str | None:
    """R2 and accuracy at one size."""
    if not scores:
        return None
    return f"{scores['r2'].value:.2f}; {100 * scores['accuracy'].value:.1f}"


run = compute.run

if __name__ == "__main__":
    compute.main()
