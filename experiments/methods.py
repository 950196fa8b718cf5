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
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.method_blocks import result_blocks
from experiments.shared.about import about_pair, count_texts, show, show_saved
from experiments.shared.maps import (
    choose_map,
    control_maps,
    fit_numbers,
    pair_moments,
    r2_interval,
)
from experiments.shared.method_maps import (
    Rows,
    accuracy_interval,
    anchor_rows,
    choice_of,
    choose_methods,
    fit_closed,
    fit_descents,
    fit_shuffled_closed,
    methods_option,
    probe_accuracies,
    with_ends,
)
from experiments.shared.options import (
    PairOptions,
    public_limit_option,
    public_option,
    resamples_option,
    seed_option,
)
from experiments.shared.sides import open_corpus, public_pairs
from experiments.shared.task import SPLITS, OpenTask, Task, open_task
from helix_jax.alignment import Moments, StateMap, prepare, save_map
from helix_jax.progress import bar, stage
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


@dataclasses.dataclass(frozen=True)
class MethodsConfig(PairOptions):
    """Flags of the experiment."""

    methods: tuple[str, ...] = methods_option("all")
    public: str = public_option("to fit on as well; empty: none")
    public_limit: int = public_limit_option()
    anchors: int = option(300, "rows that relative representations refer to", least=1)
    epochs: int = option(20, "of gradient fits, at most", least=1)
    repeats: int = option(3, "timed fits of the closed forms", least=1)
    seed: int = seed_option("of the controls and the gradient fits")
    resamples: int = resamples_option()
    tiny: bool = option(False, "600 texts, 64 tokens each at most")


def run(config: MethodsConfig) -> dict[str, float]:
    """Fit, score, compare; see the module docstring."""
    small = {"limit": 600, "max_tokens": 64, "public_limit": 600, "resamples": 200}
    config = prepare_config(config, tiny=small | {"anchors": 100, "repeats": 1})
    check_inputs(config)
    directory = open_run(config.workdir, config)
    if is_done(directory):
        show_saved(directory)
        return read_summary(directory)
    summary = _compute(config)
    show(directory, result_blocks(summary), about_pair(config, summary))
    return finish_run(directory, summary)


def _compute(config: MethodsConfig) -> dict[str, float]:
    opened = open_task(config, open_corpus(config, labelled=True), config.resamples)
    pairs, task = opened.pairs, opened.task
    started = time.perf_counter()
    moments = {"fit": pair_moments(pairs["fit"])}
    seconds = time.perf_counter() - started
    moments |= {split: pair_moments(pairs[split]) for split in SPLITS[1:]}
    chosen = choose_map(moments)
    summary = count_texts(pairs) | fit_numbers(chosen, moments)
    summary["methods/moments_seconds"] = seconds
    rows = {split: (task.x[split], task.y[split]) for split in SPLITS}
    summary |= _all_methods(config, task, moments, rows, task.ids["fit"], pairs["fit"])
    key = jax.random.key(config.seed)
    controls = control_maps(pairs["fit"], moments["fit"], chosen, key)
    for name, affine in controls.items():
        summary |= _scores(config, task, f"methods/control_{name}", affine)
    summary |= probe_accuracies(task, "methods/")
    if config.public:
        summary |= _on_public_text(config, opened)
    return summary


def _all_methods(
    config: MethodsConfig,
    task: Task,
    moments: dict[str, Moments],
    rows: dict[str, Rows],
    ids: list[str],
    pair: Any,
) -> dict[str, float]:
    """Scores of every method of the flags, their times, and their shuffled selves."""
    dx = moments["fit"].cov_xx.shape[0]
    methods = choose_methods(config.methods, float(moments["fit"].count), dx)
    anchors = anchor_rows(rows["fit"], ids, config.anchors, config.seed)
    fitted = fit_closed(moments, methods, anchors)
    times: dict[str, list[float]] = {name: [] for name in ("shared", *fitted)}
    # The first fits above have compiled them.
    for _ in bar(range(config.repeats), "timed fits"):
        started = time.perf_counter()
        jax.block_until_ready(prepare(moments["fit"], moments["select"])[:-3])
        times["shared"].append(time.perf_counter() - started)
        for name, one in fit_closed(moments, methods, anchors).items():
            times[name].append(times["shared"][-1] + one.seconds)
    summary = {}
    for name, values in times.items():
        ends = (np.median(values), min(values), max(values))
        summary |= with_ends(f"methods/{name}_seconds", ends)
    maps: dict[str, StateMap] = {}
    for name, one in fitted.items():
        summary |= choice_of(f"methods/{name}", one)
        maps[name] = one.selection.fit.map
        if name == "ridge":
            save_map(
                Path(config.workdir) / "map",
                maps[name],
                source=pair.x.fingerprint,
                target=pair.y.fingerprint,
                penalty=float(one.selection.fit.penalty),
                split="fit",
            )
    for name, (affine, spent) in _descents(config, moments, methods, rows).items():
        maps[name] = affine
        summary |= with_ends(f"methods/{name}_seconds", (spent, spent, spent))
    for name, affine in bar(maps.items(), "maps scored"):
        summary |= _scores(config, task, f"methods/{name}", affine)
    with stage("fitting the controls"):
        shuffled = fit_shuffled_closed(
            moments, methods, rows["fit"], anchors, key=jax.random.key(config.seed)
        )
    for name, one in bar(shuffled.items(), "controls scored"):
        start = f"methods/{name}_shuffled"
        summary |= _scores(config, task, start, one.selection.fit.map)
    return summary


def _descents(
    config: MethodsConfig,
    moments: dict[str, Moments],
    methods: list[str],
    rows: dict[str, Rows],
) -> dict[str, tuple[StateMap, float]]:
    return fit_descents(
        moments,
        methods,
        choose_map(moments).fit.map,
        rows["fit"],
        rows["select"],
        key=jax.random.key(config.seed),
        epochs=config.epochs,
    )


def _scores(
    config: MethodsConfig, task: Task, name: str, affine: StateMap
) -> dict[str, float]:
    """NAME_r2 and NAME_accuracy on the test split, with their intervals."""
    test = task.x["test"], task.y["test"]
    r2 = r2_interval(affine, test, task.documents, config.resamples)
    accuracy = accuracy_interval(
        affine,
        task.target_probe,
        test[0],
        task.labels["test"],
        task.documents,
        config.resamples,
    )
    return with_ends(f"{name}_r2", r2) | with_ends(f"{name}_accuracy", accuracy)


def _on_public_text(config: MethodsConfig, opened: OpenTask) -> dict[str, float]:
    """Scores of every method fitted on public text alone: methods/NAME_public_..."""
    pairs = public_pairs(
        config.public, config.public_limit, opened.options, opened.sides, opened.corpus
    )
    moments = {split: pair_moments(pair) for split, pair in pairs.items()}
    rows = {split: pair.read() for split, pair in pairs.items()}
    dx = moments["fit"].cov_xx.shape[0]
    methods = choose_methods(config.methods, float(moments["fit"].count), dx)
    anchors = anchor_rows(rows["fit"], pairs["fit"].ids, config.anchors, config.seed)
    maps = {
        name: one.selection.fit.map
        for name, one in fit_closed(moments, methods, anchors).items()
    }
    maps |= {
        name: affine
        for name, (affine, _) in _descents(config, moments, methods, rows).items()
    }
    summary = {}
    for name, affine in bar(maps.items(), "maps of public text scored"):
        summary |= _scores(config, opened.task, f"methods/{name}_public", affine)
    return summary


if __name__ == "__main__":
    start_program(MethodsConfig, run)
