r"""Out-of-distribution detectors, on the target's states and on mapped source states.

    python -m experiments.ood --workdir=runs/ood --source=DIR_OR_ID \
      --target=DIR_OR_ID --data=NAME_FILE_OR_FOLDER --ood_data=NAME_FILE_OR_FOLDER \
      [--public=NAME_FILE_OR_FOLDER]

The test texts of --data are in-distribution; those of --ood_data that are not in --data
are out-of-distribution. A probe and every detector are fitted on the target's states of
the fit split, and applied to:

| arm      | states of the texts                                                     |
|----------|-------------------------------------------------------------------------|
| native   | the target's own                                                        |
| mapped   | the source's, by ridge on the task's fit texts                          |
| public   | the source's, by ridge on --public texts only                           |
| shuffled | control: the source's, by ridge on shuffled pairs                       |
| random   | control: the source's, by a random rotation                             |
| identity | control: the source's as they are, if both sides have the same width    |
| refitted | the mapped ones, detectors fitted on mapped states too                  |
| source   | the source's own, with its own probe and detectors                      |

Out-of-distribution is the positive class of `_auroc`, `_aupr_out` and `_fpr95`, the
share of in-distribution texts flagged at the threshold that flags 95% of the
out-of-distribution ones. In-distribution is that of `_aupr_in` and `_fpr95_in`, the
share of out-of-distribution texts passed if 95% of the in-distribution ones pass: some
papers call this FPR95. Intervals are bootstraps over both sides' documents.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from experiments.shared.about import about, count_documents, short_data, sides_of
from experiments.shared.names import CONTROL_NAMES, DETECTOR_NAMES
from experiments.shared.options import (
    TINY_TASK,
    TaskOptions,
    public_option,
    resamples_option,
    seed_option,
)
from helix_jax.errors import RunError
from helix_jax.progress import stage
from helix_jax.reports import (
    Block,
    Curves,
    Quantity,
    Table,
    column_each,
    cross_bars,
    cross_table,
)
from helix_jax.runs import Report, Run, experiment, option
from helix_jax.stats import Interval
from helix_jax.text.corpus import Corpus
from helix_jax.text.hashing import SPLITS, document_of

if __name__ != "__main__":  # slow, and flags are read without
    from experiments.shared.sides import open_corpus, paired_states, without_texts_of
    from experiments.shared.task import open_task
    from helix_jax.transfer.detection import Detection, detect
    from helix_jax.transfer.pair_fit import choose_map, fit_pairs

ARMS = {
    "native": "native states",
    "mapped": "mapped states",
    "public": "mapped by public text",
    **{name: CONTROL_NAMES[name] for name in ("shuffled", "random", "identity")},
}
REFITTED = {  # detectors fitted on the states that they read
    "refitted": "mapped states, fitted there",
    "source": "the source's own, fitted there",
}
SIDES = {"known": "in-distribution", "strange": "out-of-distribution"}
METRICS = ("auroc", "aupr_in", "aupr_out", "fpr95", "fpr95_in")
DRAWN = ("energy", "mahalanobis", "knn")  # detectors whose ROC curves are shown
AUROC = Quantity("AUROC, %", 100, 1)
ANSWER = (
    "AUROC of the energy score, out-of-distribution against in-distribution: "
    "{ood/energy_mapped_auroc} on mapped states, {ood/energy_native_auroc} on native "
    "states, {ood/energy_shuffled_auroc} by a map of shuffled pairs."
)
Scores = Mapping[str, Mapping[str, "Detection"]]  # arm -> detector


@dataclasses.dataclass(frozen=True)
class OodConfig(TaskOptions):
    """Flags of the experiment."""

    ood_data: str = option(
        "",
        "corpus of out-of-distribution texts; labels are not used",
        names="corpora",
        required=True,
        tiny="topics",
    )
    ood_limit: int = option(
        0, "texts of --ood_data to use, chosen by hash; 0: all", least=0
    )
    public: str = public_option("for one more map; empty: none")
    seed: int = seed_option("of the controls")
    resamples: int = resamples_option(1000)
    tiny: bool = option(False, "600 texts a side, 64 tokens each at most")


@experiment(tiny=TINY_TASK | {"ood_limit": 600})
def compute(config: OodConfig, _: Run) -> Report:
    """Fit, score, compare; see the module docstring."""
    corpus = open_corpus(config, labelled=True)
    strange_corpus, keep = open_strange(config, corpus)
    opened = open_task(config, corpus, config.resamples)
    pairs, task = opened.pairs, opened.task
    strange = paired_states(
        *opened.sides, strange_corpus, "test", opened.options, keep=keep
    )
    fitted = fit_pairs(pairs)
    maps = {"mapped": fitted.map}
    if config.public:
        maps["public"] = choose_map(opened.public_moments()).fit.map
    controls = fitted.controls(config.seed)
    maps |= {name: affine for name, affine in controls.items() if name in ARMS}

    documents = [document_of(text_id) for text_id in strange.ids]
    scores = detect(task, maps, strange.read(), documents)
    numbers = fitted.numbers()
    for side, pair in zip(SIDES, (pairs["test"], strange)):
        numbers[f"ood/{side}_texts"] = len(pair.ids)
        numbers[f"ood/{side}_documents"] = count_documents(pair.ids)
    numbers |= {
        f"ood/{detector}_{arm}_{metric}": detection.metrics[metric]
        for arm, detectors in scores.items()
        for detector, detection in detectors.items()
        for metric in METRICS
    }
    answer = AUROC.fill(ANSWER, numbers)
    about_both = about_sides(config, numbers)
    return Report(numbers, result_blocks(scores), about_both, answer=answer)


def open_strange(config: OodConfig, corpus: Corpus) -> tuple[Corpus, Callable]:
    """The corpus of out-of-distribution texts, and a filter of those not in --data.

    Raises:
      RunError: --data holds all of them, or all but one.
    """
    strange = open_corpus(
        dataclasses.replace(config, limit=config.ood_limit),
        config.ood_data,
        least={"test": 2},
    )
    keep = without_texts_of(corpus, *SPLITS)
    with stage("texts that --data does not hold"):
        kept = sum(map(keep, strange.read("test")))
    if kept < 2:
        raise RunError(
            f"the test split of --ood_data={config.ood_data} has no text that "
            "--data does not hold; name another corpus."
        )
    return strange, keep


def about_sides(config: OodConfig, numbers: Mapping[str, Any]) -> str:
    """Which models, on which texts, how many of either kind."""
    texts, documents = (
        {side: numbers[f"ood/{side}_{unit}"] for side in SIDES}
        for unit in ("texts", "documents")
    )
    return about(
        sides_of(config),
        f"{short_data(config.data)} against {short_data(config.ood_data)}",
        f"{numbers['fit/rows']:,} texts to fit on",
        *(
            f"{texts[side]:,} {name} test texts (of {documents[side]:,} documents)"
            for side, name in SIDES.items()
        ),
        documents=min(documents.values()),
    )


def result_blocks(scores: Scores) -> list[Block]:
    """AUROC and FPR95 of every detector and arm; bars, and ROC curves of some."""
    arms = {arm: title for arm, title in ARMS.items() if arm in scores}
    flagged = " FPR95: share of in-distribution texts flagged if 95% of the others are."
    alone = " The source's states use its own probe."
    return [
        metric_table("AUROC of detectors", scores, "auroc", arms),
        cross_bars(
            "AUROC of detectors, with controls",
            AUROC,
            {detector: DETECTOR_NAMES[detector] for detector in scores["native"]},
            arms,
            lambda detector, arm: scores[arm][detector].metrics["auroc"],
            references={"chance": 0.5},
        ),
        *(
            Curves(
                f"ROC curve of {DETECTOR_NAMES[detector]}",
                "in-distribution texts flagged, share",
                "out-of-distribution texts flagged, share",
                {said: scores[arm][detector].curve for arm, said in arms.items()},
                diagonal=True,
            )
            for detector in DRAWN
        ),
        metric_table("FPR95 of detectors", scores, "fpr95", arms, flagged),
        metric_table("AUROC of refitted detectors", scores, "auroc", REFITTED, alone),
    ]


def metric_table(
    title: str, scores: Scores, metric: str, arms: Mapping[str, str], more: str = ""
) -> Table:
    """A metric of every detector on some arms, in percent."""

    def number(detector: str, arm: str) -> Interval:
        return scores[arm][detector].metrics[metric]

    shown = Quantity(f"{metric.upper()}, %", 100, 1)
    note = f"[ ]: 95% bootstrap interval over documents of both.{more}"
    columns = column_each(shown, arms)
    return cross_table(title, shown.title, DETECTOR_NAMES, columns, number, note=note)


run = compute.run

if __name__ == "__main__":
    compute.main()
