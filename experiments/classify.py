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
by ridge on shuffled pairs and by a random rotation, and the largest class.

Reference: arXiv 2603.18908, the tables of classification.
"""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.fit import choose_map, control_maps, fit_summary, pair_moments
from experiments.states import (
    PairOptions,
    Side,
    load_sides,
    open_corpus,
    paired_states,
    with_stores,
)
from helix_jax.activations import Pair
from helix_jax.alignment import (
    AffineMap,
    Moments,
    accumulate,
    apply_map,
    fit_ridge,
    merge,
    save_map,
    select_penalty,
)
from helix_jax.errors import RunError
from helix_jax.probes import (
    Probe,
    bootstrap_interval,
    calibration_error,
    macro_f1,
    predict_logits,
    save_probe,
    train_probe,
)
from helix_jax.reports import (
    Bars,
    Block,
    Table,
    format_interval,
    markdown_table,
    save_blocks,
)
from helix_jax.runs import finish_run, is_done, open_run, option, read_summary
from helix_jax.runs.program import start_program
from helix_jax.text.corpus import Corpus, require_labels
from helix_jax.text.docstrings import content_key
from helix_jax.text.hashing import document_of, unit_hash
from helix_jax.types import Text

SPLITS = ("fit", "select", "test")
ARMS = {
    "target": "target, its own states",
    "mapped": "source, mapped to the target's probe",
    "source": "source, its own probe",
    "shuffled": "control: map of shuffled pairs",
    "random": "control: random rotation",
    "majority": "control: largest class",
    "public": "map of public text",
}


@dataclasses.dataclass(frozen=True)
class ClassifyConfig(PairOptions):
    """Flags of the experiment."""

    public: str = option("", "corpora of public text to fit maps on; empty: none")
    public_limit: int = option(20_000, "public texts to use, chosen by hash; 0: all")
    few_shot: tuple[str, ...] = option(("32", "64", "128"), "in-distribution texts")
    few_shot_share: float = option(0.5, "their share of the weight beside public text")
    seeds: int = option(3, "draws of the few-shot texts and of the controls")
    resamples: int = option(2000, "bootstrap resamples of documents")
    tiny: bool = option(False, "600 texts, 64 tokens each at most")


class Task(NamedTuple):
    """Everything an arm is read and scored with; dictionaries are by split.

    Attributes:
      x, y: source states [N, dx], target states [N, dy].
      labels: [N] int.
      ids: [N] text ids.
      classes: names of the C classes.
      target_probe, source_probe: trained on the fit split of y and of x.
      documents: document of each test text.
      resamples: of the bootstrap.
    """

    x: dict[str, np.ndarray]
    y: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    ids: dict[str, list[str]]
    classes: tuple[str, ...]
    target_probe: Probe
    source_probe: Probe
    documents: list[str]
    resamples: int


def run(config: ClassifyConfig) -> dict[str, float]:
    """Fit, classify, compare; see the module docstring."""
    if config.tiny:
        config = dataclasses.replace(
            config, limit=600, max_tokens=64, public_limit=600, seeds=1, resamples=200
        )
    if not (config.workdir and config.source and config.target):
        raise RunError("classify: --workdir, --source and --target are required.")
    directory = open_run(config.workdir, config)
    if is_done(directory):
        summary = read_summary(directory)
    else:
        summary = _compute(config)
        save_blocks(directory.folder, result_blocks(summary))
        summary = finish_run(directory, summary)
    print(markdown_table(*result_rows(summary)))
    return summary


def _compute(config: ClassifyConfig) -> dict[str, float]:
    options = with_stores(config)
    corpus = open_corpus(config)
    classes = require_labels(corpus)
    source, target = load_sides(config)
    pairs = {
        split: paired_states(source, target, corpus, split, options) for split in SPLITS
    }
    task = make_task(pairs, classes, config)
    moments = {split: pair_moments(pair) for split, pair in pairs.items()}
    chosen = choose_map(moments)
    _save(config, pairs["fit"], task, chosen.fit)
    summary = {"data/classes": len(classes)}
    summary |= {f"data/{split}_texts": len(pair.x) for split, pair in pairs.items()}
    summary |= fit_summary(chosen, moments)
    summary |= score(
        task, "target", [predict_logits(task.target_probe, task.y["test"])]
    )
    summary |= score(
        task, "source", [predict_logits(task.source_probe, task.x["test"])]
    )
    summary |= score(task, "mapped", [read_mapped(task, chosen.fit.map)])
    controls = [
        control_maps(pairs["fit"], moments["fit"], chosen, jax.random.key(seed))
        for seed in range(config.seeds)
    ]
    for name in ("shuffled", "random"):
        summary |= score(
            task, name, [read_mapped(task, maps[name]) for maps in controls]
        )
    largest = np.bincount(task.labels["fit"], minlength=len(classes)).argmax()
    constant = np.zeros((len(task.documents), len(classes)))
    constant[:, largest] = 1
    summary |= score(task, "majority", [constant])
    if config.public:
        public = _public_moments(config, options, source, target, corpus)
        summary |= public_arms(task, public, config)
        summary |= few_shot_arms(task, config)
    return summary


def make_task(
    pairs: dict[str, Pair], classes: tuple[str, ...], config: ClassifyConfig
) -> Task:
    """Read the states and train both sides' probes."""
    x = {split: pair.x.read() for split, pair in pairs.items()}
    y = {split: pair.y.read() for split, pair in pairs.items()}
    labels = {split: pair.labels for split, pair in pairs.items()}
    target_probe, source_probe = (
        _trained(z["fit"], labels["fit"], z["select"], labels["select"], len(classes))
        for z in (y, x)
    )
    ids = {split: pair.ids for split, pair in pairs.items()}
    documents = [document_of(one) for one in ids["test"]]
    return Task(
        x, y, labels, ids, classes, target_probe, source_probe, documents,
        config.resamples,
    )  # fmt: skip


def read_mapped(task: Task, affine: AffineMap) -> np.ndarray:
    """The target's probe on mapped source states of the test split: [N, C] logits."""
    return predict_logits(task.target_probe, apply_map(affine, task.x["test"]))


def score(task: Task, name: str, logits: list[Any]) -> dict[str, float]:
    """Accuracy with its interval, macro-F1 and calibration of one arm.

    Args:
      task: labels and documents of the test split.
      name: of the arm.
      logits: one [N, C] for each seed; scores are means over seeds.

    Returns:
      test/NAME_accuracy with _low and _high (and _std over seeds where several), the
      others beside it.
    """
    truth = task.labels["test"]
    logits = [np.asarray(one) for one in logits]
    right = np.array([one.argmax(-1) == truth for one in logits], np.float64)
    interval = bootstrap_interval(
        right.mean(axis=0), task.documents, resamples=task.resamples
    )
    start = f"test/{name}"
    scores = {
        f"{start}_accuracy": float(interval.value),
        f"{start}_accuracy_low": float(interval.low),
        f"{start}_accuracy_high": float(interval.high),
        f"{start}_macro_f1": np.mean(
            [
                float(macro_f1(one.argmax(-1), truth, len(task.classes)))
                for one in logits
            ]
        ),
        f"{start}_calibration_error": np.mean(
            [float(calibration_error(one, truth)) for one in logits]
        ),
    }
    if len(logits) > 1:
        scores[f"{start}_accuracy_std"] = float(np.std(right.mean(axis=1)))
    return scores


def public_arms(
    task: Task, public: dict[str, Moments], config: ClassifyConfig
) -> dict[str, float]:
    """Maps of public text, alone and with a few texts of the task; no labels."""
    path = fit_ridge(public["fit"])
    affine = select_penalty(path, public["select"]).fit.map
    summary = score(task, "public", [read_mapped(task, affine)])
    for count in map(int, config.few_shot):
        logits = []
        for seed in range(config.seeds):
            rows = draw(task.ids["fit"], count, seed)
            own = accumulate([(task.x["fit"][rows], task.y["fit"][rows])])
            share = config.few_shot_share
            weight = public["fit"].count * share / (1 - share)
            mixed = merge(public["fit"], own._replace(count=weight))
            chosen = select_penalty(fit_ridge(mixed), public["select"])
            logits.append(read_mapped(task, chosen.fit.map))
        summary |= score(task, f"public_{count}", logits)
    return summary


def few_shot_arms(task: Task, config: ClassifyConfig) -> dict[str, float]:
    """Probes on a few labelled source states; a quarter of them chooses the penalty."""
    summary = {}
    for count in map(int, config.few_shot):
        logits = []
        for seed in range(config.seeds):
            rows = draw(task.ids["fit"], count, seed)
            x, labels = task.x["fit"][rows], task.labels["fit"][rows]
            held = max(1, count // 4)
            if len(np.unique(labels[held:])) < 2:
                raise RunError(
                    f"classify: the {count} texts of --few_shot drawn with seed {seed} "
                    "are of one class; ask for more."
                )
            probe = _trained(
                x[held:], labels[held:], x[:held], labels[:held], len(task.classes)
            )
            logits.append(predict_logits(probe, task.x["test"]))
        summary |= score(task, f"few_shot_{count}", logits)
    return summary


def _trained(x: Any, labels: Any, x_select: Any, labels_select: Any, classes: int):
    """The probe whose penalty is best on the select rows."""
    chosen = train_probe(x, labels, x_select, labels_select, classes)
    if not bool(chosen.ok):
        raise RunError(
            f"classify: the probe of penalty {float(chosen.penalty):g} has not "
            "converged; are there NaN or constant states?"
        )
    return chosen.probe


def draw(ids: list[str], count: int, seed: int) -> np.ndarray:
    """Rows of `count` texts, by a hash of their ids."""
    if count >= len(ids):
        raise RunError(
            f"classify: --few_shot asks for {count} texts, the fit split has "
            f"{len(ids)}."
        )
    order = [unit_hash(one, salt=f"few-shot {seed}") for one in ids]
    return np.argsort(order)[:count]


def result_rows(summary: dict[str, float]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of arms, in percent."""
    rows = [
        [_describe(name), format_interval(summary, f"test/{name}_accuracy")]
        for name in _arms(summary)
    ]
    return ["arm", "accuracy, % [95%]"], rows


def result_blocks(summary: dict[str, float]) -> list[Block]:
    """The arms as a table and as bars."""
    ends = ("", "_low", "_high")
    series = {
        _describe(name): [[100 * summary[f"test/{name}_accuracy{end}"] for end in ends]]
        for name in _arms(summary)
    }
    note = (
        f"{summary['data/classes']} classes, {summary['data/fit_texts']} texts to fit "
        f"on, {summary['data/test_texts']} to test on; 95% bootstrap intervals over "
        "documents."
    )
    return [
        Table("Accuracy of the target's classifier", *result_rows(summary), note=note),
        Bars("Accuracy of the arms", "accuracy, %", [""], series),
    ]


def _arms(summary: dict[str, float]) -> list[str]:
    """Names of the arms that a summary holds, in the order of the table."""
    names = [
        key.removeprefix("test/").removesuffix("_accuracy")
        for key in summary
        if key.startswith("test/") and key.endswith("_accuracy")
    ]
    return sorted(names, key=_place)


def _describe(name: str) -> str:
    kind, _, count = name.rpartition("_")
    if name in ARMS:
        return ARMS[name]
    if kind == "public":
        return f"map of public text and {count} of the task"
    return f"source, probe of {count} labelled texts"


def _place(name: str) -> tuple:
    known = list(ARMS)
    if name in known:
        return (known.index(name), 0)
    kind, _, count = name.rpartition("_")
    return (len(known) + (kind == "few_shot"), int(count))


def _public_moments(
    config: ClassifyConfig,
    options: PairOptions,
    source: Side,
    target: Side,
    corpus: Corpus,
) -> dict[str, Moments]:
    """Moments of public text, without any text that the task's test split holds."""
    limited = dataclasses.replace(options, limit=config.public_limit)
    public = open_corpus(limited, config.public)
    test = {content_key(text.text) for text in corpus.read("test")}

    def disjoint(text: Text) -> bool:
        return content_key(text.text) not in test

    kept = {"not_in": corpus.fingerprint, "split": "test"}
    return {
        split: pair_moments(
            paired_states(
                source, target, public, split, limited, keep=disjoint, kept=kept
            )
        )
        for split in ("fit", "select")
    }


def _save(config: ClassifyConfig, pair: Pair, task: Task, fit: Any) -> None:
    folder = Path(config.workdir)
    save_map(
        folder / "map", fit.map, source=pair.x.fingerprint,
        target=pair.y.fingerprint, penalty=float(fit.penalty), split="fit",
    )  # fmt: skip
    for name, probe, store in (
        ("source", task.source_probe, pair.x),
        ("target", task.target_probe, pair.y),
    ):
        save_probe(
            folder / f"{name}_probe", probe, classes=task.classes,
            fingerprints={"states": store.fingerprint, "split": "fit"},
        )  # fmt: skip


if __name__ == "__main__":
    start_program(ClassifyConfig, run)
