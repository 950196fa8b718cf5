r"""Does the target's classifier work on the source's embeddings, beyond controls?

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

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial

from experiments.shared.about import BRACKETS, about_pair, count_texts
from experiments.shared.options import TINY_TASK, TaskOptions, seeds_option
from helix_jax.progress import bar
from helix_jax.reports import Block, Quantity, cross_bars, cross_table
from helix_jax.runs import Report, Run, experiment, option
from helix_jax.stats import Interval
from helix_jax.text.corpus import LEAST_TEXTS

if __name__ != "__main__":  # slow, and flags are read without
    from experiments.shared.sides import open_corpus
    from experiments.shared.task import open_task
    from helix_jax.probes import ArmScores, arm_scores, save_probe
    from helix_jax.transfer.few_shot import few_shot_arms, public_arms
    from helix_jax.transfer.pair_fit import fit_pairs

ARMS = {
    "target": "target, its own states",
    "mapped": "source, mapped to the target's probe",
    "source": "source, its own probe",
    "shuffled": "control: map of shuffled pairs",
    "random": "control: random rotation",
    "identity": "control: unchanged source states",
    "majority": "control: largest class",
    "public": "map of public text",
}
ACCURACY = Quantity("accuracy, %", 100, 1)
ANSWER = (
    "The target's classifier is right on {test/mapped_accuracy} of the test texts with "
    "the source's mapped states, on {test/target_accuracy} with the target's own, and "
    "on {test/shuffled_accuracy} with a map of shuffled pairs."
)


@dataclasses.dataclass(frozen=True)
class ClassifyConfig(TaskOptions):
    """Flags of the experiment."""

    few_shot: tuple[int, ...] = option(
        (32, 64, 128), "numbers of in-distribution texts", least=1
    )
    few_shot_share: float = option(
        0.5, "share of the weight that they get next to public text", above=0, most=1
    )
    seeds: int = seeds_option()
    tiny: bool = option(False, "600 texts, 64 tokens each at most")


@experiment(tiny=TINY_TASK | {"seeds": 1})
def compute(config: ClassifyConfig, _: Run) -> Report:
    """Fit, classify, compare; see the module docstring."""
    few = 1 + max(config.few_shot, default=0)  # the few are not all texts
    corpus = open_corpus(
        config, least=LEAST_TEXTS | {"fit": max(few, 2)}, labelled=True
    )
    opened = open_task(config, corpus, config.resamples)
    pairs, task = opened.pairs, opened.task
    fitted, titles = fit_pairs(pairs), dict(ARMS)
    controls = [fitted.controls(seed) for seed in range(config.seeds)]
    own = task.read_own()
    arms = {
        "target": [own["target"]],
        "mapped": [task.read_mapped(fitted.map)],
        "source": [own["source"]],
        **{
            name: [task.read_mapped(maps[name]) for maps in controls]
            for name in ("shuffled", "random", "identity")
            if name in controls[0]
        },
        "majority": [task.name_largest()],
    }
    if config.public:
        draws = {"counts": config.few_shot, "seeds": config.seeds}
        arms |= public_arms(
            task, opened.public_moments(), share=config.few_shot_share, **draws
        )
        arms |= few_shot_arms(task, **draws)
        for count in config.few_shot:
            titles[f"public_{count}"] = f"map of public text and {count} of the task"
            titles[f"few_shot_{count}"] = f"source, probe of {count} labelled texts"
    scores = {
        name: arm_scores(
            logits, task.labels["test"], task.documents, resamples=config.resamples
        )
        for name, logits in bar(arms.items(), "arms scored")
    }
    numbers = {"data/classes": len(task.classes), **count_texts(pairs)}
    numbers |= fitted.numbers()
    mapped = task.read_mapped(fitted.map, "select")
    numbers["select/mapped_accuracy"] = task.accuracy(mapped, "select")
    for name, of_arm in scores.items():
        numbers |= of_arm.numbers(f"test/{name}")
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
    titles = {name: titles[name] for name in arms}
    blocks = accuracy_blocks(scores, titles, f"{len(task.classes)} classes. {BRACKETS}")
    answer = ACCURACY.fill(ANSWER, numbers)
    about = about_pair(config, numbers)
    return Report(numbers, blocks, about, files, answer=answer)


def accuracy_blocks(
    scores: Mapping[str, ArmScores], titles: Mapping[str, str], note: str
) -> list[Block]:
    """The arms as a table and as bars; the largest class is a line."""

    def accuracy(name: str, _: str) -> Interval:
        return scores[name].accuracy

    shown = {name: title for name, title in titles.items() if name != "majority"}
    return [
        cross_table(
            "Accuracy of the target's classifier",
            "arm",
            titles,
            {"accuracy": ACCURACY},
            accuracy,
            note=note,
        ),
        cross_bars(
            "Accuracy of the arms",
            ACCURACY,
            shown,
            {"accuracy": "accuracy, 95% interval"},
            accuracy,
            references={ARMS["majority"]: scores["majority"].accuracy},
        ),
    ]


run = compute.run

if __name__ == "__main__":
    compute.main()
