r"""How many fitting texts a map needs: R2, loss and accuracy against their number.

    python -m experiments.scaling --workdir=runs/scaling --source=DIR_OR_ID \
      --target=DIR_OR_ID --data=NAME_FILE_OR_FOLDER [--public=NAME_FILE_OR_FOLDER] \
      [--methods=closed]

The texts of the fit split (of --public, if it is given) are put in an order by a hash
of their documents; the first 100, .. N of them are the samples, each holding the one
before. Moments of the rows between two sizes are merged into those of the smaller: each
row is read once an order, and once for the control. Penalties and ranks are chosen anew
at each size.

The loss is the squared error of the test split over its variance, 1 - R2. The plateau
is the smallest size from which on the loss stays within --tolerance of that at N, as a
share of it; it is found where it is below N. Its interval is over test documents. With
--seeds several orders are taken; numbers are means over them. Controls: ridge on the
same samples with their pairs shuffled; the target's and the source's own probes.

Least squares is left out below dx + 2 texts, where it is not defined.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import jax
import numpy as np

from experiments.shared.about import BRACKETS, about_pair, count_texts
from experiments.shared.maps import pair_moments
from experiments.shared.method_maps import (
    Material,
    Rows,
    choose_methods,
    methods_option,
)
from experiments.shared.names import METHOD_NAMES
from experiments.shared.options import (
    TINY_TASK,
    TaskOptions,
    public_option,
    resamples_option,
    seeds_option,
)
from experiments.shared.sides import open_corpus
from experiments.shared.task import PROBES, Task, open_task
from helix_jax.alignment import (
    GRADIENT_METHODS,
    METHODS,
    Moments,
    derangement,
    deviations,
    fit_ridge,
    growing_moments,
    select_penalty,
    squared_errors,
    usable_methods,
)
from helix_jax.errors import RunError
from helix_jax.progress import bar
from helix_jax.reports import Block, Curves, Table, format_interval, read_interval
from helix_jax.runs import Run, log_metrics, option, truncate_metrics
from helix_jax.runs.experiment import Report, experiment
from helix_jax.runs.workdir import flat_numbers
from helix_jax.stats import Interval, LearningCurve, learning_curve
from helix_jax.text.hashing import hashed_order

CONTROL = "control_shuffled"
NAMES = METHOD_NAMES | {CONTROL: "control: ridge, shuffled pairs"}
GROUPS = {"closed forms": METHODS, "gradient fits": GRADIENT_METHODS}
FIGURES = {  # score -> title, label, scale
    "loss": ("Test loss", "1 - R2, share of the variance", 1),
    "accuracy": ("Accuracy of the target's probe", "accuracy, %", 100),
}


@dataclasses.dataclass(frozen=True)
class ScalingConfig(TaskOptions):
    """Flags of the experiment."""

    methods: tuple[str, ...] = methods_option("closed")
    public: str = public_option("to fit on in place of --data")
    least: int = option(100, "texts of the smallest sample", least=2)
    sizes: int = option(8, "sizes from --least to all, evenly by ratio", least=2)
    tolerance: float = option(
        0.02, "share of the loss that a plateau may be above it", least=0
    )
    anchors: int = option(
        300, "rows that relative representations refer to, at most", least=1
    )
    epochs: int = option(20, "of gradient fits", least=1)
    seeds: int = seeds_option("orders of the texts")
    resamples: int = resamples_option(1000)
    tiny: bool = option(False, "600 texts, 64 tokens each at most, one order")


@experiment(tiny=TINY_TASK | {"seeds": 1, "sizes": 4})
def compute(config: ScalingConfig, _: Run) -> Report:
    """Fit at every size, score, locate the plateau; see the module docstring."""
    corpus = open_corpus(config, labelled=True)
    if not config.public:  # else its own texts are counted
        sample_sizes(corpus.counts["fit"], config.least, config.sizes)
    opened = open_task(config, corpus, config.resamples)
    task, pairs = opened.task, opened.pairs
    numbers = count_texts(pairs)
    if config.public:
        pairs = opened.public_pairs(config)
    rows = {split: pairs[split].read() for split in ("fit", "select")}
    numbers |= {f"data/{split}_texts": len(x) for split, (x, _) in rows.items()}
    ids = pairs["fit"].ids
    numbers["scaling/rows"] = len(ids)
    sizes = sample_sizes(len(ids), config.least, config.sizes)
    select = pair_moments(pairs["select"])
    orders = []
    for seed in range(config.seeds):
        order = hashed_order(ids, salt=f"scaling {seed}", by_document=True)
        orders.append(score_order(config, task, rows, select, order, sizes))
    curves = {
        name: learning_curve(
            *np.mean([scores[name] for scores in orders], axis=0),
            deviations(task.y["test"]),
            task.documents,
            sizes,
            tolerance=config.tolerance,
            resamples=config.resamples,
        )
        for name in bar(orders[0], "methods summarised")
    }
    headline = "ridge" if "ridge" in curves else next(iter(curves))
    numbers["scaling/plateau_rows"] = curves[headline].plateau
    for name, curve in curves.items():
        numbers[f"scaling/{name}_plateau_rows"] = curve.plateau
        numbers[f"scaling/{name}_plateau_found"] = int(curve.found)
    probes = task.probe_accuracies()
    numbers |= {f"scaling/{name}_accuracy": value for name, value in probes.items()}
    points: dict[int, dict[str, Interval]] = {size: {} for size in sizes}
    for name, curve in curves.items():
        for size, scores in curve.points().items():
            for score, interval in scores.items():
                points[size][f"scaling/{name}_{size}_{score}"] = interval
    return Report(
        numbers | {name: value for at in points.values() for name, value in at.items()},
        result_blocks(curves, probes, headline),
        about_pair(config, numbers),
        files={"metrics.jsonl": partial(write_metrics, points=points)},
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


def score_order(
    config: ScalingConfig,
    task: Task,
    rows: Mapping[str, Rows],
    select: Moments,
    order: np.ndarray,
    sizes: Sequence[int],
) -> dict[str, np.ndarray]:
    """Every method's test rows along one order of the fit rows.

    Returns:
      name -> [2, S, N]: at each size the squared error of each test text, and whether
      the target's probe is right; NaN where the method is not defined. The last is the
      control, ridge on shuffled pairs of the same texts.
    """
    x, y = rows["fit"]
    dealt = y[np.asarray(derangement(jax.random.key(0), len(y)))]
    methods = choose_methods(config.methods, len(order), x.shape[1])
    shape = 2, len(sizes), len(task.documents)
    scores = {name: np.full(shape, np.nan) for name in (*methods, CONTROL)}
    grown = zip(
        growing_moments(x, y, order=order, sizes=sizes),
        growing_moments(x, dealt, order=order, sizes=sizes),
    )
    steps = bar(zip(sizes, grown), "sizes fitted and scored", total=len(sizes))
    for place, (size, (moments, shuffled)) in enumerate(steps):
        usable = usable_methods(size, x.shape[1], anchors=True)
        anchors = order[: min(config.anchors, size)]
        material = Material(
            {"fit": moments, "select": select},
            rows,
            [name for name in methods if name in usable or name not in METHODS],
            (x[anchors], y[anchors]),
            sample=order[:size],
        )
        maps = material.fit_maps(key=jax.random.key(0), epochs=config.epochs)
        maps[CONTROL] = select_penalty(fit_ridge(shuffled), select).fit.map
        for name, affine in maps.items():
            named = np.asarray(task.read_mapped(affine)).argmax(-1)
            scores[name][0, place] = squared_errors(
                affine, task.x["test"], task.y["test"]
            )
            scores[name][1, place] = named == task.labels["test"]
    return scores


def write_metrics(path: Path, points: Mapping[int, Mapping[str, Interval]]) -> None:
    """One line for each size."""
    run = Run(path.parent)
    truncate_metrics(run, -1)
    for size, scores in points.items():
        log_metrics(run, size, flat_numbers(scores))


def result_blocks(
    curves: Mapping[str, LearningCurve], probes: Mapping[str, Interval], headline: str
) -> list[Block]:
    """Scores at the largest size and at all; curves of loss and accuracy."""
    curves = {name: curves[name] for name in NAMES if name in curves}
    marks, note = {}, BRACKETS
    if curves[headline].found:
        marks[f"plateau of {NAMES[headline]}"] = float(curves[headline].plateau.value)
    else:
        note += f" {NAMES[headline]}: no plateau, its loss falls to the end."
    blocks: list[Block] = score_tables(curves, probes, note)
    ends = curves[headline].sizes[0], curves[headline].sizes[-1]
    levels = {
        said: [[size, *read_interval(probes, name, scale=100)] for size in ends]
        for name, said in PROBES.items()
    }
    for group, members in GROUPS.items():
        shown = {name: curve for name, curve in curves.items() if name in members}
        if not shown:
            continue
        shown[CONTROL] = curves[CONTROL]
        for score, (title, label, scale) in FIGURES.items():
            series = {
                NAMES[name]: [
                    [size, *read_interval(scores, score, scale=scale)]
                    for size, scores in curve.points().items()
                ]
                for name, curve in shown.items()
            }
            if score == "accuracy":
                series |= levels
            blocks.append(
                Curves(
                    f"{title}, {group}",
                    "texts to fit on",
                    label,
                    series,
                    log_x=True,
                    log_y=score == "loss",
                    marks=marks,
                    note=note,
                )
            )
    return blocks


def score_tables(
    curves: Mapping[str, LearningCurve], probes: Mapping[str, Interval], note: str
) -> list[Table]:
    """R2, accuracy and plateau: with intervals at the largest size, without at all."""
    sizes = curves[CONTROL].sizes
    at_largest, at_all = [], []
    for name, curve in curves.items():
        last, plateau = curve.at(sizes[-1]), plateau_cell(curve)
        r2 = format_interval(last, "r2", scale=1, digits=3)
        accuracy = format_interval(last, "accuracy")
        at_largest.append([NAMES[name], r2, accuracy, plateau])
        cells = [scores_cell(curve.at(size)) for size in sizes]
        at_all.append([NAMES[name], *cells, plateau])
    for name, said in PROBES.items():
        at_largest.append([said, None, format_interval(probes, name), None])
    return [
        Table(
            f"Maps fitted on {sizes[-1]} texts",
            ["method", "test R2", "accuracy, %", "plateau, texts"],
            at_largest,
            note=note,
        ),
        Table(
            "R2 and accuracy by texts to fit on",
            [
                "R2; accuracy, % by texts to fit on",
                *(f"{size:,}" for size in sizes),
                "plateau, texts",
            ],
            at_all,
            note=note,
        ),
    ]


def plateau_cell(curve: LearningCurve) -> str | None:
    """Where the loss stops falling, in texts; or that it does not."""
    if not curve.found:
        return "none: still falling"
    return format_interval({"plateau": curve.plateau}, "plateau", scale=1, digits=0)


def scores_cell(scores: Mapping[str, Interval]) -> str | None:
    """R2 and accuracy at one size."""
    if not scores:
        return None
    return f"{scores['r2'].value:.2f}; {100 * scores['accuracy'].value:.1f}"


run = compute.run

if __name__ == "__main__":
    compute.main()
