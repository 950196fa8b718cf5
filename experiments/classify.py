r"""The target's classifier read on the source's embeddings, with every control.

    python -m experiments.classify --workdir=runs/trec --source=DIR_OR_ID \
      --target=DIR_OR_ID --data=NAME_FILE_OR_FOLDER [--public=NAME_FILE_OR_FOLDER]

A multinomial logistic probe is trained on the target's states of the fit split. A
ridge map takes the source's states of the test split to the target's space, where the
probe reads them. Nothing is chosen on the test split; intervals are bootstraps over
documents.

| arm              | the map is fitted on                                          |
|------------------|---------------------------------------------------------------|
| mapped           | the task's own fit texts (no labels)                          |
| public           | --public texts only                                           |
| public_32 ..     | --public texts and 32 (64, 128) texts of the task             |
| few_shot_32 ..   | no map: a probe on the source's states of 32 (64, 128) texts  |

Controls: the target's and the source's own probes, the target's probe on states mapped
by ridge on shuffled pairs, by a random rotation and, where both sides have one width,
not at all; and the largest class.

Reference: arXiv 2603.18908, the tables of classification.
"""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from experiments.shared.about import BRACKETS, about_pair, count_texts
from experiments.shared.maps import fit_pairs
from experiments.shared.options import TINY_TASK, TaskOptions, seeds_option
from experiments.shared.sides import open_corpus
from experiments.shared.task import Task, draw, open_task, trained_probe
from helix_jax.alignment import Moments, accumulate, fit_ridge, merge, select_penalty
from helix_jax.errors import RunError
from helix_jax.probes import ArmScores, arm_scores, predict_logits, save_probe
from helix_jax.progress import bar
from helix_jax.reports import Bars, Block, Table, format_interval, read_interval
from helix_jax.runs import Run, option
from helix_jax.runs.experiment import Report, experiment
from helix_jax.text.corpus import LEAST_TEXTS

ARMS = {
    "target": "target, its own states",
    "mapped": "source, mapped to the target's probe",
    "source": "source, its own probe",
    "shuffled": "control: map of shuffled pairs",
    "random": "control: random rotation",
    "identity": "control: the source states as they are",
    "majority": "control: largest class",
    "public": "map of public text",
}


@dataclasses.dataclass(frozen=True)
class ClassifyConfig(TaskOptions):
    """Flags of the experiment."""

    few_shot: tuple[int, ...] = option((32, 64, 128), "in-distribution texts", least=1)
    few_shot_share: float = option(
        0.5, "their share of the weight beside public text", above=0, most=1
    )
    seeds: int = seeds_option()
    tiny: bool = option(False, "600 texts, 64 tokens each at most")


@experiment(tiny=TINY_TASK | {"seeds": 1})
def compute(config: ClassifyConfig, _: Run) -> Report:
    """Fit, classify, compare; see the module docstring."""
    few = 1 + max(config.few_shot, default=0)  # not all texts are few
    corpus = open_corpus(
        config, least=LEAST_TEXTS | {"fit": max(few, 2)}, labelled=True
    )
    opened = open_task(config, corpus, config.resamples)
    pairs, task = opened.pairs, opened.task
    fitted = fit_pairs(pairs)
    controls = [fitted.controls(seed) for seed in range(config.seeds)]
    arms = {
        "target": [predict_logits(task.target_probe, task.y["test"])],
        "mapped": [task.read_mapped(fitted.map)],
        "source": [predict_logits(task.source_probe, task.x["test"])],
        **{
            name: [task.read_mapped(maps[name]) for maps in controls]
            for name in ("shuffled", "random", "identity")
            if name in controls[0]
        },
        "majority": [_constant(task)],
    }
    if config.public:
        arms |= public_arms(task, opened.public_moments(config), config)
        arms |= few_shot_arms(task, config)
    scores = {
        name: arm_scores(
            logits, task.labels["test"], task.documents, resamples=config.resamples
        )
        for name, logits in bar(arms.items(), "arms scored")
    }
    numbers = {"data/classes": len(task.classes), **count_texts(pairs)}
    numbers |= fitted.numbers()
    for name, one in scores.items():
        numbers |= one.numbers(f"test/{name}")
    files = {"map": fitted.save}
    files["right.npz"] = partial(task.save_right, arms=arms)
    for name, probe, store in (
        ("source", task.source_probe, pairs["fit"].x),
        ("target", task.target_probe, pairs["fit"].y),
    ):
        files[f"{name}_probe"] = partial(
            save_probe,
            probe=probe,
            classes=task.classes,
            fingerprints={"states": store.fingerprint, "split": "fit"},
        )
    blocks = accuracy_blocks(scores, len(task.classes))
    return Report(numbers, blocks, about_pair(config, numbers), files)


def public_arms(
    task: Task, public: dict[str, Moments], config: ClassifyConfig
) -> dict[str, list[Any]]:
    """Maps of public text, alone and with a few texts of the task; no labels."""
    path = fit_ridge(public["fit"])
    affine = select_penalty(path, public["select"]).fit.map
    arms = {"public": [task.read_mapped(affine)]}
    for count in config.few_shot:
        logits = []
        for seed in bar(range(config.seeds), f"maps of public text and {count}"):
            rows = draw(task.ids["fit"], count, seed)
            own = accumulate([(task.x["fit"][rows], task.y["fit"][rows])])
            share = config.few_shot_share
            weight = np.asarray(public["fit"].count) * share / (1 - share)
            mixed = merge(public["fit"], own._replace(count=weight))
            chosen = select_penalty(fit_ridge(mixed), public["select"])
            logits.append(task.read_mapped(chosen.fit.map))
        arms[f"public_{count}"] = logits
    return arms


def few_shot_arms(task: Task, config: ClassifyConfig) -> dict[str, list[Any]]:
    """Probes on a few labelled source states; a quarter of them chooses the penalty."""
    arms = {}
    for count in config.few_shot:
        logits = []
        for seed in bar(range(config.seeds), f"probes of {count} texts"):
            rows = draw(task.ids["fit"], count, seed)
            x, labels = task.x["fit"][rows], task.labels["fit"][rows]
            held = max(1, count // 4)
            if len(np.unique(labels[held:])) < 2:
                raise RunError(
                    f"the {count} texts of --few_shot drawn with seed {seed} "
                    "are of one class; ask for more."
                )
            probe = trained_probe(
                x[held:], labels[held:], x[:held], labels[:held], len(task.classes)
            )
            logits.append(predict_logits(probe, task.x["test"]))
        arms[f"few_shot_{count}"] = logits
    return arms


def _constant(task: Task) -> np.ndarray:
    """[N, C] logits that name the largest class of the fit split."""
    count = len(task.classes)
    largest = np.bincount(task.labels["fit"], minlength=count).argmax()
    return np.tile(np.eye(count)[largest], (len(task.documents), 1))


def accuracy_blocks(scores: Mapping[str, ArmScores], classes: int) -> list[Block]:
    """The arms as a table and as bars."""
    found = {name: one.accuracy for name, one in scores.items()}
    rows = [[arm_title(name), format_interval(found, name)] for name in found]
    shown = [name for name in found if name != "majority"]
    title, note = (
        "Accuracy of the target's classifier",
        f"{classes} classes. {BRACKETS}",
    )
    return [
        Table(title, ["arm", "accuracy, %"], rows, note=note),
        Bars(
            "Accuracy of the arms",
            "accuracy, %",
            list(map(arm_title, shown)),
            {
                "accuracy, 95% interval": [
                    read_interval(found, name, scale=100) for name in shown
                ]
            },
            {ARMS["majority"]: 100 * float(found["majority"].value)},
        ),
    ]


def arm_title(name: str) -> str:
    """What an arm is, as tables say it."""
    if name in ARMS:
        return ARMS[name]
    kind, _, count = name.rpartition("_")
    if kind == "public":
        return f"map of public text and {count} of the task"
    return f"source, probe of {count} labelled texts"


run = compute.run

if __name__ == "__main__":
    compute.main()
