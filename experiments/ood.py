r"""Detectors of strange texts, on the target's states and on mapped source states.

    python -m experiments.ood --workdir=runs/ood --source=DIR_OR_ID \
      --target=DIR_OR_ID --data=NAME_FILE_OR_FOLDER --ood_data=NAME_FILE_OR_FOLDER \
      [--public=NAME_FILE_OR_FOLDER]

Known are the test texts of --data, strange those of --ood_data that --data does not
hold. A probe and every detector are fitted on the target's states of the fit split, and
read on:

| arm      | states of known and strange texts                                       |
|----------|-------------------------------------------------------------------------|
| native   | the target's own                                                        |
| mapped   | the source's, by ridge on the task's fit texts                          |
| public   | the source's, by ridge on --public texts only                           |
| shuffled | control: the source's, by ridge on shuffled pairs                       |
| random   | control: the source's, by a random rotation                             |
| refitted | the mapped ones, detectors fitted on mapped states too                  |
| source   | the source's own, with its own probe and detectors                      |

Higher is stranger, and strange is the positive class: `_auroc`, `_aupr_in`,
`_aupr_out`, and `_fpr95`, the known texts flagged where 95% of the strange ones are.
`_fpr95_in` is the strange texts passed where 95% of the known ones are: what papers
with the known class as the positive one call FPR95. Intervals are bootstraps over both
sides' documents.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from experiments.shared.about import (
    about,
    count_documents,
    short_data,
    show,
    show_saved,
    sides_of,
)
from experiments.shared.maps import choose_map, control_maps, fit_numbers, pair_moments
from experiments.shared.method_maps import with_ends
from experiments.shared.names import DETECTOR_NAMES
from experiments.shared.options import (
    PairOptions,
    public_limit_option,
    public_option,
    resamples_option,
    seed_option,
)
from experiments.shared.sides import (
    open_corpus,
    paired_states,
    public_pairs,
    without_texts_of,
)
from experiments.shared.task import SPLITS, Task, open_task
from helix_jax.alignment import AffineMap, apply_map
from helix_jax.errors import RunError
from helix_jax.ood import (
    DETECTORS,
    FittedDetectors,
    detection_intervals,
    fit_detectors,
    roc_points,
)
from helix_jax.progress import bar, stage
from helix_jax.reports import Bars, Block, Curves, Table, format_interval, read_interval
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
from helix_jax.text.hashing import document_of

ARMS = {
    "native": "native states",
    "mapped": "mapped states",
    "public": "mapped by public text",
    "shuffled": "control: shuffled pairs",
    "random": "control: random rotation",
}
REFITTED = {  # detectors fitted on the states that they read
    "refitted": "mapped states, fitted there",
    "source": "the source's own, fitted there",
}
METRICS = ("auroc", "aupr_in", "aupr_out", "fpr95", "fpr95_in")
DRAWN = ("energy", "mahalanobis", "knn")  # detectors whose ROC curves are kept
Roc = dict[str, dict[str, list[list[float]]]]  # detector -> arm -> points


@dataclasses.dataclass(frozen=True)
class OodConfig(PairOptions):
    """Flags of the experiment."""

    ood_data: str = option(
        "",
        "corpus of strange texts; labels are not used",
        names="corpora",
        required=True,
        tiny="topics",
    )
    ood_limit: int = option(0, "its texts to use, chosen by hash; 0: all", least=0)
    public: str = public_option("for one more map; empty: none")
    public_limit: int = public_limit_option()
    seed: int = seed_option("of the controls")
    resamples: int = resamples_option(1000)
    tiny: bool = option(False, "600 texts a side, 64 tokens each at most")


def run(config: OodConfig) -> dict[str, float]:
    """Fit, score, compare; see the module docstring."""
    small = {"limit": 600, "ood_limit": 600, "public_limit": 600, "max_tokens": 64}
    config = prepare_config(config, tiny=small | {"resamples": 200})
    check_inputs(config)
    directory = open_run(config.workdir, config)
    if is_done(directory):
        show_saved(directory)
        return read_summary(directory)
    summary, roc = _compute(config)
    show(directory, result_blocks(summary, roc), _about(config, summary))
    return finish_run(directory, summary)


def _about(config: OodConfig, summary: dict[str, float]) -> str:
    sides = ("known", "strange")
    texts, documents = (
        [summary[f"ood/{side}_{what}"] for side in sides]
        for what in ("texts", "documents")
    )
    return about(
        sides_of(config),
        f"{short_data(config.data)} against {short_data(config.ood_data)}",
        f"{summary['fit/rows']:,} texts to fit on",
        *(
            f"{n:,} {side} test texts (of {held:,} documents)"
            for side, n, held in zip(sides, texts, documents)
        ),
        documents=min(documents),
    )


def _compute(config: OodConfig) -> tuple[dict[str, float], Roc]:
    corpus = open_corpus(config, labelled=True)
    strange_corpus = open_corpus(
        dataclasses.replace(config, limit=config.ood_limit),
        config.ood_data,
        least={"test": 2},
    )
    keep = without_texts_of(corpus, *SPLITS)
    with stage("texts that --data does not hold"):
        strange_texts = sum(map(keep, strange_corpus.read("test")))
    if strange_texts < 2:
        raise RunError(
            f"ood: the test split of --ood_data={config.ood_data} has no text that "
            "--data does not hold; name another corpus."
        )
    options, _, sides, pairs, task = open_task(config, corpus, config.resamples)
    other = paired_states(*sides, strange_corpus, "test", options, keep=keep)
    moments = {split: pair_moments(pair) for split, pair in pairs.items()}
    chosen = choose_map(moments)
    maps = {"mapped": chosen.fit.map}
    if config.public:
        public = public_pairs(
            config.public, config.public_limit, options, sides, corpus
        )
        maps["public"] = choose_map(
            {split: pair_moments(pair) for split, pair in public.items()}
        ).fit.map
    key = jax.random.key(config.seed)
    controls = control_maps(pairs["fit"], moments["fit"], chosen, key)
    maps |= {name: controls[name] for name in ("shuffled", "random")}
    summary = fit_numbers(chosen, moments)
    summary |= {
        "ood/known_texts": len(pairs["test"].x),
        "ood/strange_texts": len(other.x),
        "ood/known_documents": count_documents(pairs["test"].ids),
        "ood/strange_documents": count_documents(other.ids),
    }
    strange_documents = [document_of(one) for one in other.ids]
    roc: Roc = {detector: {} for detector in DRAWN}
    arms = _arms(task, maps, other.read())
    for name, fitted, known, strange in bar(arms, "arms scored", total=len(maps) + 3):
        for detector, score in DETECTORS.items():
            scores = [np.asarray(score(fitted, rows)) for rows in (known, strange)]
            intervals = detection_intervals(
                *scores, task.documents, strange_documents, resamples=config.resamples
            )
            for metric in METRICS:
                start = f"ood/{detector}_{name}_{metric}"
                summary |= with_ends(start, intervals[metric])
            if detector in DRAWN and name in ARMS:
                roc[detector][name] = roc_points(*scores, most=200).tolist()
    return summary, roc


def _arms(
    task: Task, maps: dict[str, AffineMap], strange: tuple[np.ndarray, np.ndarray]
) -> Iterator[tuple[str, FittedDetectors, Any, Any]]:
    """Name, detectors, states of known texts, states of strange texts, of each arm."""
    labels = task.labels["fit"]
    fitted = fit_detectors(task.target_probe, task.y["fit"], labels)
    yield "native", fitted, task.y["test"], strange[1]
    for name, affine in maps.items():
        mapped = [apply_map(affine, z) for z in (task.x["test"], strange[0])]
        yield name, fitted, *mapped
        if name == "mapped":
            rows = apply_map(affine, task.x["fit"])
            yield "refitted", fit_detectors(task.target_probe, rows, labels), *mapped
    own = fit_detectors(task.source_probe, task.x["fit"], labels)
    yield "source", own, task.x["test"], strange[0]


def result_rows(
    summary: dict[str, float], metric: str, arms: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a metric of every detector on some arms, in percent."""
    held = [one for one in arms if f"ood/energy_{one}_auroc" in summary]
    rows = []
    for name in DETECTORS:
        starts = (f"ood/{name}_{arm}_{metric}" for arm in held)
        rows.append(
            [
                DETECTOR_NAMES[name],
                *(format_interval(summary, start) for start in starts),
            ]
        )
    titles = [ARMS.get(one) or REFITTED[one] for one in held]
    return [f"{metric.upper()}, %", *titles], rows


def result_blocks(summary: dict[str, float], roc: Roc) -> list[Block]:
    """AUROC and FPR95 of every detector and arm; bars, and ROC curves of some."""
    arms = {k: v for k, v in ARMS.items() if f"ood/energy_{k}_auroc" in summary}
    note = "[ ]: 95% bootstrap interval over documents of both. "
    bars = {
        said: [
            read_interval(summary, f"ood/{name}_{arm}_auroc", scale=100)
            for name in DETECTORS
        ]
        for arm, said in arms.items()
    }
    flagged = "FPR95: known texts flagged where 95% of the strange ones are."
    own = note + "The source's own are read by its own probe."
    return [
        Table("AUROC of detectors", *result_rows(summary, "auroc", arms), note=note),
        Bars(
            "AUROC of detectors, with controls",
            "AUROC, %",
            [DETECTOR_NAMES[one] for one in DETECTORS],
            bars,
            {"chance": 50.0},
        ),
        *(
            Curves(
                f"ROC curve of {DETECTOR_NAMES[detector]}",
                "known texts flagged, share",
                "strange texts flagged, share",
                {said: curves[arm] for arm, said in arms.items()},
                diagonal=True,
            )
            for detector, curves in roc.items()
        ),
        Table(
            "FPR95 of detectors",
            *result_rows(summary, "fpr95", arms),
            note=note + flagged,
        ),
        Table(
            "AUROC of detectors fitted anew",
            *result_rows(summary, "auroc", REFITTED),
            note=own,
        ),
    ]


if __name__ == "__main__":
    start_program(OodConfig, run)
