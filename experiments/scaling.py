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
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from experiments.samples import (
    Curve,
    document_order,
    growing_moments,
    sample_sizes,
    summarise,
)
from experiments.scaling_blocks import CONTROL, headline_of, result_blocks
from experiments.shared.about import about_pair, count_texts, show, show_saved
from experiments.shared.maps import deviations, pair_moments, squared_errors
from experiments.shared.method_maps import (
    Rows,
    choose_methods,
    fit_closed,
    fit_descents,
    methods_option,
    probe_accuracies,
)
from experiments.shared.options import (
    PairOptions,
    public_limit_option,
    public_option,
    resamples_option,
    seeds_option,
)
from experiments.shared.sides import open_corpus, public_pairs
from experiments.shared.task import Task, open_task
from helix_jax.activations import Pair
from helix_jax.alignment import (
    METHODS,
    StateMap,
    apply_map,
    derangement,
    fit_ridge,
    select_penalty,
    usable_methods,
)
from helix_jax.probes import predict_logits
from helix_jax.progress import bar
from helix_jax.runs import (
    finish_run,
    is_done,
    log_metrics,
    open_run,
    option,
    prepare_config,
    read_summary,
    truncate_metrics,
)
from helix_jax.runs.inputs import check_inputs
from helix_jax.runs.program import start_program


@dataclasses.dataclass(frozen=True)
class ScalingConfig(PairOptions):
    """Flags of the experiment."""

    methods: tuple[str, ...] = methods_option("closed")
    public: str = public_option("to fit on in place of --data")
    public_limit: int = public_limit_option()
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


def run(config: ScalingConfig) -> dict[str, float]:
    """Fit at every size, score, locate the plateau; see the module docstring."""
    small = {"limit": 600, "max_tokens": 64, "public_limit": 600}
    small |= {"seeds": 1, "sizes": 4, "resamples": 200}
    config = prepare_config(config, tiny=small)
    check_inputs(config)
    directory = open_run(config.workdir, config)
    if is_done(directory):
        show_saved(directory)
        return read_summary(directory)
    truncate_metrics(directory, -1)
    summary = _compute(config, directory)
    show(directory, result_blocks(summary), about_pair(config, summary))
    return finish_run(directory, summary)


def _compute(config: ScalingConfig, directory: Any) -> dict[str, float]:
    corpus = open_corpus(config, labelled=True)
    if not config.public:  # else its own texts are counted
        sample_sizes(corpus.counts["fit"], config.least, config.sizes)
    options, corpus, sides, fitted_on, task = open_task(
        config, corpus, config.resamples
    )
    counts = count_texts(fitted_on)
    if config.public:
        fitted_on = public_pairs(
            config.public, config.public_limit, options, sides, corpus
        )
    rows, ids = fitted_on["fit"].read(), fitted_on["fit"].ids
    counts["data/fit_texts"] = len(ids)
    counts["data/select_texts"] = len(fitted_on["select"].ids)
    sizes = sample_sizes(len(ids), config.least, config.sizes)
    select = fitted_on["select"]
    found: dict[str, list[Curve]] = {}
    for seed in range(config.seeds):
        curves = _one_order(
            config, task, rows, document_order(ids, seed), sizes, select
        )
        for name, curve in curves.items():
            found.setdefault(name, []).append(curve)
    variance = deviations(task.y["test"])
    summary: dict[str, float] = {"scaling/rows": len(ids), **counts}
    summary |= probe_accuracies(task, "scaling/")
    for name, orders in bar(found.items(), "methods summarised"):
        curve = Curve(*(np.mean(every, axis=0) for every in zip(*orders)))
        summary |= summarise(
            name,
            curve,
            variance,
            sizes,
            task.documents,
            tolerance=config.tolerance,
            resamples=config.resamples,
        )
    for end in ("", "_low", "_high"):
        place = f"scaling/{headline_of(found)}_plateau_rows{end}"
        summary[f"scaling/plateau_rows{end}"] = summary[place]
    for size in sizes:
        start = f"_{size}_"
        log_metrics(directory, size, {k: v for k, v in summary.items() if start in k})
    return summary


def _one_order(
    config: ScalingConfig,
    task: Task,
    rows: Rows,
    order: np.ndarray,
    sizes: Sequence[int],
    select: Pair,
) -> dict[str, Curve]:
    """Curves of every method along one order; NaN where a method is not defined.

    The last is the control, ridge on shuffled pairs of the same texts.
    """
    select_rows, select_moments = select.read(), pair_moments(select)
    dx, tests = rows[0].shape[1], len(task.documents)
    names = choose_methods(config.methods, len(order), dx)
    curves = {
        name: Curve(*(np.full((len(sizes), tests), np.nan) for _ in Curve._fields))
        for name in (*names, CONTROL)
    }
    dealt = rows[1][np.asarray(derangement(jax.random.key(0), len(order)))]
    grown = zip(
        growing_moments(rows, order, sizes),
        growing_moments((rows[0], dealt), order, sizes),
    )
    steps = bar(grown, "sizes fitted and scored", total=len(sizes))
    for place, ((size, moments), (_, shuffled)) in enumerate(steps):
        usable = usable_methods(size, dx, anchors=True)
        defined = [n for n in names if n in usable or n not in METHODS]
        both = {"fit": moments, "select": select_moments}
        first = order[: min(config.anchors, size)]
        anchors = rows[0][first], rows[1][first]
        maps: dict[str, StateMap] = {
            name: one.selection.fit.map
            for name, one in fit_closed(both, defined, anchors).items()
        }
        if set(defined) - set(maps):
            ridge = select_penalty(fit_ridge(moments), select_moments).fit.map
            part = rows[0][order[:size]], rows[1][order[:size]]
            descents = fit_descents(
                both,
                defined,
                ridge,
                part,
                select_rows,
                key=jax.random.key(0),
                epochs=config.epochs,
            )
            maps |= {name: affine for name, (affine, _) in descents.items()}
        maps[CONTROL] = select_penalty(fit_ridge(shuffled), select_moments).fit.map
        for name, affine in maps.items():
            logits = predict_logits(
                task.target_probe, apply_map(affine, task.x["test"])
            )
            test = task.x["test"], task.y["test"]
            curves[name].error[place] = squared_errors(affine, *test)
            curves[name].right[place] = (
                np.asarray(logits).argmax(-1) == task.labels["test"]
            )
    return curves


if __name__ == "__main__":
    start_program(ScalingConfig, run)
