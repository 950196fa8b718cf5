r"""Every alignment method on one footing: R2, accuracy, seconds, controls.

    python -m experiments.methods --workdir=runs/methods --source=DIR_OR_ID \
      --target=DIR_OR_ID --data=NAME_FILE_OR_FOLDER [--public=NAME_FILE_OR_FOLDER] \
      [--methods=all]

The moments of the fit split are taken in one pass; each closed form is fitted from
them, its penalty or rank chosen on the select split, and its map scored on the test
split: R2, and the accuracy of the target's own probe on the mapped states. Gradient
fits see the same rows. With --public all are fitted again on public text alone.

Controls: each closed form on shuffled pairs (`_shuffled`), ridge on shuffled pairs, a
random rotation, the mean; the target's and the source's own probes.

Intervals are bootstraps over documents; those of seconds are the least and the most of
--repeats. The seconds of a closed form are from moments to map, the decompositions that
all share (`methods/shared_seconds`) included; those of a gradient fit are from rows to
map, with its compilation. `methods/moments_seconds` is the pass over the rows.
"""

import dataclasses
import time
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from experiments.shared.about import BRACKETS, about_pair, count_texts
from experiments.shared.maps import PairFit, choose_map, pair_moments
from experiments.shared.method_maps import (
    Material,
    Rows,
    choose_methods,
    closed_maps,
    methods_option,
)
from experiments.shared.names import METHOD_NAMES
from experiments.shared.options import (
    TINY_TASK,
    TaskOptions,
    public_option,
    seed_option,
)
from experiments.shared.sides import open_corpus
from experiments.shared.task import PROBES, Task, draw, open_task
from helix_jax.alignment import (
    Fitted,
    Moments,
    StateMap,
    prepare,
    r2_interval,
    shuffled_moments,
)
from helix_jax.progress import bar, stage
from helix_jax.reports import Bars, Block, Table, format_interval, read_interval
from helix_jax.runs import Run, option
from helix_jax.runs.experiment import Report, experiment
from helix_jax.stats import Interval
from helix_jax.text.hashing import SPLITS

FITTED_ON = {
    "": "pairs of the task",
    "_public": "pairs of public text",
    "_shuffled": "control: shuffled pairs",
}
CONTROLS = {
    "control_shuffled": "control: ridge, shuffled, same penalty",
    "control_random": "control: random rotation",
    "control_mean": "control: the mean",
    "control_identity": "control: the source states as they are",
}
Scores = dict[str, dict[str, Interval]]  # name in SCORES -> arm


class Score(NamedTuple):
    """How a score is shown."""

    title: str
    label: str
    scale: float
    digits: int

    def cell(self, intervals: Mapping[str, Interval], name: str) -> str | None:
        """In a table."""
        return format_interval(intervals, name, scale=self.scale, digits=self.digits)

    def bar(self, intervals: Mapping[str, Interval], name: str) -> list[float]:
        """Its value, low and high in a figure."""
        return read_interval(intervals, name, scale=self.scale)


SCORES = {
    "r2": Score("Test R2 of alignment methods", "test R2", 1, 3),
    "accuracy": Score("Accuracy of the target's probe", "accuracy, %", 100, 1),
}


@dataclasses.dataclass(frozen=True)
class MethodsConfig(TaskOptions):
    """Flags of the experiment."""

    methods: tuple[str, ...] = methods_option("all")
    public: str = public_option("to fit on as well; empty: none")
    anchors: int = option(300, "rows that relative representations refer to", least=1)
    epochs: int = option(20, "of gradient fits, at most", least=1)
    repeats: int = option(3, "timed fits of the closed forms", least=1)
    seed: int = seed_option("of the controls and the gradient fits")
    tiny: bool = option(False, "600 texts, 64 tokens each at most")


@experiment(tiny=TINY_TASK | {"anchors": 100, "repeats": 1})
def compute(config: MethodsConfig, _: Run) -> Report:
    """Fit, score, compare; see the module docstring."""
    opened = open_task(config, open_corpus(config, labelled=True), config.resamples)
    pairs, task = opened.pairs, opened.task
    key = jax.random.key(config.seed)
    started = time.perf_counter()
    moments = {"fit": pair_moments(pairs["fit"])}
    numbers = {"methods/moments_seconds": time.perf_counter() - started}
    moments |= {split: pair_moments(pairs[split]) for split in SPLITS[1:]}
    ridge = PairFit(pairs, moments, choose_map(moments))
    numbers |= count_texts(pairs) | ridge.numbers()

    rows = {split: (task.x[split], task.y[split]) for split in SPLITS}
    material = material_of(config, moments, rows, task.ids["fit"])
    closed, seconds = fit_timed(material, config.repeats)
    descents = material.fit_descents(key=key, epochs=config.epochs)
    for name, method in closed.items():
        fit = method.selection.fit
        numbers[f"methods/{name}_penalty"] = float(fit.penalty)
        numbers[f"methods/{name}_rank"] = int(fit.rank)
        numbers[f"methods/{name}_condition"] = float(fit.condition)
        numbers[f"methods/{name}_at_edge"] = int(method.selection.at_edge)
    for name, method in descents.items():
        seconds[name] = Interval(*[method.seconds] * 3)
    controls = ridge.controls(config.seed)
    maps = closed_maps(closed)
    maps |= {name: method.map for name, method in descents.items()}
    maps |= {f"control_{name}": affine for name, affine in controls.items()}

    scores = {"": score_maps(task, maps)}
    scores[""]["accuracy"] |= task.probe_accuracies()
    scores["_shuffled"] = score_maps(task, fit_shuffled_closed(material, key))
    if config.public:
        public = opened.public_pairs(config)
        moments = {split: pair_moments(pair) for split, pair in public.items()}
        rows = {split: pair.read() for split, pair in public.items()}
        material = material_of(config, moments, rows, public["fit"].ids)
        maps = material.fit_maps(key=key, epochs=config.epochs)
        scores["_public"] = score_maps(task, maps)
    numbers |= {f"methods/{name}_seconds": spent for name, spent in seconds.items()}
    numbers |= {
        f"methods/{name}{suffix}_{score}": interval
        for suffix, columns in scores.items()
        for score, arms in columns.items()
        for name, interval in arms.items()
    }
    files = {"map": ridge.save} if "ridge" in closed else {}
    blocks = result_blocks(scores, seconds)
    return Report(numbers, blocks, about_pair(config, numbers), files)


def material_of(
    config: MethodsConfig,
    moments: Mapping[str, Moments],
    rows: Mapping[str, Rows],
    ids: list[str],
) -> Material:
    """What the methods of the flags are fitted on; ids are of the fit split."""
    x, y = rows["fit"]
    methods = choose_methods(config.methods, len(x), x.shape[1])
    places = draw(ids, min(config.anchors, len(ids) - 1), config.seed)
    return Material(moments, rows, methods, (x[places], y[places]))


def fit_timed(
    material: Material, repeats: int
) -> tuple[dict[str, Fitted], dict[str, Interval]]:
    """The closed forms, and name -> seconds: median, least and most."""
    moments = material.moments
    fitted = material.fit_closed()  # which compiles them
    times: dict[str, list[float]] = {name: [] for name in ("shared", *fitted)}
    for _ in bar(range(repeats), "timed fits"):
        started = time.perf_counter()
        jax.block_until_ready(prepare(moments["fit"], moments["select"])[:-3])
        shared = time.perf_counter() - started
        times["shared"].append(shared)
        for name, method in material.fit_closed().items():
            times[name].append(shared + method.seconds)
    return fitted, {
        name: Interval(np.median(values), min(values), max(values))
        for name, values in times.items()
    }


def fit_shuffled_closed(material: Material, key: jax.Array) -> dict[str, StateMap]:
    """The closed forms of fit rows, and of anchors, that do not belong together."""
    with stage("fitting the controls"):
        moments = shuffled_moments(*material.rows["fit"], key=key)
        shuffled = material._replace(
            moments={**material.moments, "fit": moments},
            anchors=(material.anchors[0], np.roll(material.anchors[1], 1, axis=0)),
        )
        return closed_maps(shuffled.fit_closed())


def score_maps(task: Task, maps: Mapping[str, StateMap]) -> Scores:
    """Each score of each map on the test split, with its interval."""
    test = task.x["test"], task.y["test"]
    scores: Scores = {score: {} for score in SCORES}
    for name, affine in bar(maps.items(), "maps scored"):
        scores["r2"][name] = r2_interval(
            affine, test, task.documents, resamples=task.resamples
        )
        scores["accuracy"][name] = task.accuracy(task.read_mapped(affine))
    return scores


def result_blocks(
    scores: Mapping[str, Scores], seconds: Mapping[str, Interval]
) -> list[Block]:
    """R2 and accuracy of methods, best R2 first, and controls: tables and bars."""
    r2 = scores[""]["r2"]
    methods = {name: said for name, said in METHOD_NAMES.items() if name in r2}
    methods = dict(sorted(methods.items(), key=lambda item: -r2[item[0]].value))
    columns = {suffix: said for suffix, said in FITTED_ON.items() if suffix in scores}
    blocks: list[Block] = []
    for score, shown in SCORES.items():
        held = scores[""][score]
        arms = methods | {k: v for k, v in (CONTROLS | PROBES).items() if k in held}
        header, note = [shown.label, *columns.values()], BRACKETS
        rows = [
            [said, *(shown.cell(scores[suffix][score], name) for suffix in columns)]
            for name, said in arms.items()
        ]
        if score == "r2":
            header.append("seconds, median [least, most]")
            note += (
                " Seconds are from moments to map, of gradient fits from rows; their "
                "bracket is the range over repeats."
            )
            for row, name in zip(rows, arms):
                row.append(format_interval(seconds, name, scale=1, digits=3))
        bars = {
            said: [shown.bar(scores[suffix][score], name) for name in methods]
            for suffix, said in columns.items()
        }
        lines = {
            said: shown.bar(held, name)[0]
            for name, said in arms.items()
            if name in ("control_mean", *PROBES)
        }
        title, groups = f"{shown.title}, with controls", list(methods.values())
        blocks += [
            Table(shown.title, header, rows, note=note),
            Bars(title, shown.label, groups, bars, lines),
        ]
    return blocks


run = compute.run

if __name__ == "__main__":
    compute.main()
