r"""Every alignment method under equal conditions: R2, accuracy, seconds, controls.

    python -m experiments.methods --workdir=runs/methods --source=DIR_OR_ID \
      --target=DIR_OR_ID --data=NAME_FILE_OR_FOLDER [--public=NAME_FILE_OR_FOLDER] \
      [--methods=all]

The moments of the fit split are taken in one pass. Each closed form is fitted from
them, with its penalty or rank chosen on the select split, and its map is scored on the
test split: R2, and the accuracy of the target's own probe on the mapped states.
Gradient fits see the same rows. With --public all are also fitted on public text alone.

Controls: each closed form on shuffled pairs (`_shuffled`), ridge on shuffled pairs, a
random rotation, the mean; the target's and the source's own probes.

Intervals are bootstraps over documents; those of seconds range from the least to the
most of --repeats. The seconds of a closed form are from moments to map, including the
decompositions that all share (`methods/shared_seconds`); those of a gradient fit are
from rows to map, including compilation. `methods/moments_seconds` is the pass over the
rows.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping

from experiments.shared.about import BRACKETS, about_pair, count_texts
from experiments.shared.names import CONTROL_NAMES, METHOD_NAMES, PROBES
from experiments.shared.options import (
    TINY_TASK,
    TaskOptions,
    choose_methods,
    methods_option,
    public_option,
    seed_option,
)
from helix_jax.progress import stage
from helix_jax.reports import Block, Quantity, column_each, cross_bars, cross_table
from helix_jax.runs import Report, Run, experiment, option
from helix_jax.stats import Interval
from helix_jax.text.hashing import SPLITS

if __name__ != "__main__":  # slow, and flags are read without
    import jax

    from experiments.shared.sides import open_corpus
    from experiments.shared.task import open_task
    from helix_jax.alignment import Moments
    from helix_jax.transfer.methods import Material, Rows, closed_maps, time_closed
    from helix_jax.transfer.pair_fit import PairFit, choose_map, pair_moments
    from helix_jax.transfer.task import MapScores, draw_texts

FITTED_ON = {
    "": "pairs of the task",
    "_public": "pairs of public text",
    "_shuffled": CONTROL_NAMES["shuffled"],
}
CONTROLS = {f"control_{name}": title for name, title in CONTROL_NAMES.items()} | {
    "control_shuffled": "control: ridge, shuffled, same penalty"
}
SCORES = {  # name -> title, how it is shown
    "r2": ("Test R2 of alignment methods", Quantity("test R2", form=3)),
    "accuracy": ("Accuracy of the target's probe", Quantity("accuracy, %", 100, 1)),
}


@dataclasses.dataclass(frozen=True)
class MethodsConfig(TaskOptions):
    """Flags of the experiment."""

    methods: tuple[str, ...] = methods_option("all")
    public: str = public_option("to fit on too; empty: none")
    anchors: int = option(300, "anchor rows of relative representations", least=1)
    epochs: int = option(20, "epochs of gradient fits, at most", least=1)
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
    closed = material.fit_closed()
    seconds = time_closed(material, repeats=config.repeats)
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

    scores = {"": task.score_maps(maps)}
    scores[""]["accuracy"] |= task.probe_accuracies()
    with stage("fitting the controls"):
        shuffled = material.shuffled(key=key).fit_closed()
    scores["_shuffled"] = task.score_maps(closed_maps(shuffled))
    if config.public:
        public = opened.public_pairs()
        moments = {split: pair_moments(pair) for split, pair in public.items()}
        rows = {split: pair.read() for split, pair in public.items()}
        material = material_of(config, moments, rows, public["fit"].ids)
        maps = material.fit_maps(key=key, epochs=config.epochs)
        scores["_public"] = task.score_maps(maps)
    numbers |= {f"methods/{name}_seconds": spent for name, spent in seconds.items()}
    numbers |= {
        f"methods/{name}{suffix}_{score}": interval
        for suffix, columns in scores.items()
        for score, arms in columns.items()
        for name, interval in arms.items()
    }
    files = {"map": ridge.save} if "ridge" in closed else {}
    blocks = result_blocks(scores, seconds)
    about = about_pair(config, numbers)
    return Report(numbers, blocks, about, files, answer=methods_answer(scores))


def material_of(
    config: MethodsConfig,
    moments: Mapping[str, Moments],
    rows: Mapping[str, Rows],
    ids: list[str],
) -> Material:
    """What the methods of the flags are fitted on; ids are of the fit split."""
    x, y = rows["fit"]
    methods = choose_methods(config.methods, len(x), x.shape[1])
    anchors = draw_texts(ids, min(config.anchors, len(ids) - 1), seed=config.seed)
    return Material(moments, rows, methods, (x[anchors], y[anchors]))


def methods_answer(scores: Mapping[str, MapScores]) -> str:
    """The method of the highest test R2, and its accuracy, in a sentence."""
    r2, accuracy = scores[""]["r2"], scores[""]["accuracy"]
    methods = [name for name in METHOD_NAMES if name in r2]
    best = max(methods, key=lambda name: r2[name].value)
    r2_of, accuracy_of = (shown for _, shown in SCORES.values())
    return (
        f"The highest test R2 of {len(methods)} methods is {r2_of.told(r2, best)}, by "
        f"{METHOD_NAMES[best]}; accuracy of the target's probe on states that it maps: "
        f"{accuracy_of.told(accuracy, best)}, on the target's own states: "
        f"{accuracy_of.told(accuracy, 'target')}."
    )


def result_blocks(
    scores: Mapping[str, MapScores], seconds: Mapping[str, Interval]
) -> list[Block]:
    """R2 and accuracy of methods, best R2 first, and controls: tables and bars."""
    r2 = scores[""]["r2"]
    methods = {name: title for name, title in METHOD_NAMES.items() if name in r2}
    methods = dict(sorted(methods.items(), key=lambda item: -r2[item[0]].value))
    fitted_on = {key: title for key, title in FITTED_ON.items() if key in scores}
    blocks: list[Block] = []
    for score, (title, shown) in SCORES.items():
        of_task = scores[""][score]
        arms = methods | {k: v for k, v in (CONTROLS | PROBES).items() if k in of_task}

        def number(name: str, column: str, score: str = score) -> Interval | None:
            held = seconds if column == "seconds" else scores[column][score]
            return held.get(name)

        columns, note = column_each(shown, fitted_on), BRACKETS
        if score == "r2":
            columns["seconds"] = Quantity("seconds, median [least, most]", form=3)
            note += (
                " Seconds are from moments to map, of gradient fits from rows; their "
                "bracket is the range over repeats."
            )
        lines = [name for name in ("control_mean", *PROBES) if name in of_task]
        blocks += [
            cross_table(title, shown.title, arms, columns, number, note=note),
            cross_bars(
                f"{title}, with controls",
                shown,
                methods,
                fitted_on,
                number,
                references={arms[name]: of_task[name] for name in lines},
            ),
        ]
    return blocks


run = compute.run

if __name__ == "__main__":
    compute.main()
