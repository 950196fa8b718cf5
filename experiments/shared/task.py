"""A classification task read by both sides' probes, and how its arms are scored."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.shared.maps import pair_moments
from experiments.shared.options import PairOptions
from experiments.shared.sides import (
    Side,
    load_sides,
    paired_states,
    public_pairs,
    with_stores,
)
from helix_jax.activations import Pair
from helix_jax.alignment import Moments, StateMap, apply_map
from helix_jax.errors import RunError
from helix_jax.probes import Probe, predict_logits, right_rows, train_probe
from helix_jax.progress import stage
from helix_jax.runs import read_arrays, write_arrays
from helix_jax.stats import Interval, bootstrap_interval, paired_interval
from helix_jax.text.corpus import Corpus, require_labels
from helix_jax.text.hashing import SPLITS, document_of, hashed_order

PROBES = {
    "target_probe": "target, its own probe and states",
    "source_probe": "source, its own probe and states",
}


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

    def read_mapped(self, affine: StateMap) -> np.ndarray:
        """The target's probe on mapped source states of the test split: [N, C]."""
        return predict_logits(self.target_probe, apply_map(affine, self.x["test"]))

    def accuracy(self, logits: Any) -> Interval:
        """Share of the test split that [N, C] logits name, with its interval."""
        (right,) = right_rows([logits], self.labels["test"])
        return bootstrap_interval(right, self.documents, resamples=self.resamples)

    def probe_accuracies(self) -> dict[str, Interval]:
        """Name of PROBES -> accuracy of this side's probe on its own states."""
        logits = {
            "target_probe": predict_logits(self.target_probe, self.y["test"]),
            "source_probe": predict_logits(self.source_probe, self.x["test"]),
        }
        return {name: self.accuracy(value) for name, value in logits.items()}

    def save_right(self, path: Path, arms: Mapping[str, list[Any]]) -> None:
        """Documents of test texts, and which arms are right, for `compare_arms`."""
        labels = self.labels["test"]
        rows = {name: right_rows(draws, labels).mean(0) for name, draws in arms.items()}
        write_arrays(path, documents=np.array(self.documents), **rows)


class OpenTask(NamedTuple):
    """A labelled corpus as both sides see it.

    Attributes:
      options: the flags, --stores filled in.
      corpus: the texts.
      sides: source and target.
      pairs: states of both by split, joined.
      task: labels and probes.
    """

    options: PairOptions
    corpus: Corpus
    sides: tuple[Side, Side]
    pairs: dict[str, Pair]
    task: Task

    def public_pairs(self, config: Any) -> dict[str, Pair]:
        """States of --public, fit and select splits, without the task's test texts."""
        return public_pairs(
            config.public, config.public_limit, self.options, self.sides, self.corpus
        )

    def public_moments(self, config: Any) -> dict[str, Moments]:
        """Moments of the pairs of `public_pairs`."""
        pairs = self.public_pairs(config)
        return {split: pair_moments(pair) for split, pair in pairs.items()}


def open_task(config: PairOptions, corpus: Corpus, resamples: int = 2000) -> OpenTask:
    """Extract the states of a labelled corpus where they are missing; train probes."""
    classes = require_labels(corpus)
    sides, options = load_sides(config), with_stores(config)
    pairs = {split: paired_states(*sides, corpus, split, options) for split in SPLITS}
    return OpenTask(options, corpus, sides, pairs, make_task(pairs, classes, resamples))


def make_task(
    pairs: dict[str, Pair], classes: tuple[str, ...], resamples: int = 2000
) -> Task:
    """Read the states and train both sides' probes."""
    with stage("reading the states"):
        x = {split: pair.x.read() for split, pair in pairs.items()}
        y = {split: pair.y.read() for split, pair in pairs.items()}
    labels = {split: pair.labels for split, pair in pairs.items()}

    def probe_of(side: str, z: dict[str, np.ndarray]) -> Probe:
        rows = z["fit"], labels["fit"], z["select"], labels["select"]
        with stage(f"training the probe of the {side}"):
            return trained_probe(*rows, len(classes))

    return Task(
        x,
        y,
        labels,
        {split: pair.ids for split, pair in pairs.items()},
        classes,
        probe_of("target", y),
        probe_of("source", x),
        [document_of(text_id) for text_id in pairs["test"].ids],
        resamples,
    )


def compare_arms(
    folder: str | Path, name: str, other: str, *, resamples: int = 2000
) -> Interval:
    """Accuracy of one arm less that of another, on the same texts.

    Args:
      folder: work directory of a run that has ended.
      name, other: arms of it.
      resamples: of the paired bootstrap over documents.

    Returns:
      Interval of the difference.

    Raises:
      RunError: the run has no such arm.
    """
    rows = read_arrays(Path(folder) / "right.npz")
    missing = [arm for arm in (name, other) if arm not in rows]
    if missing:
        raise RunError(f"{folder} has no arm {missing[0]!r}, only {list(rows)}.")
    return paired_interval(
        rows[name], rows[other], rows["documents"], resamples=resamples
    )


def trained_probe(x: Any, labels: Any, x_select: Any, labels_select: Any, classes: int):
    """The probe whose penalty is best on the select rows."""
    chosen = train_probe(x, labels, x_select, labels_select, classes)
    if chosen.failure:
        raise RunError(chosen.failure)
    return chosen.probe


def draw(ids: list[str], count: int, seed: int) -> np.ndarray:
    """Rows of `count` texts, by a hash of their ids."""
    if count >= len(ids):
        raise RunError(
            f"--few_shot asks for {count} texts, the fit split has {len(ids)}."
        )
    return hashed_order(ids, salt=f"few-shot {seed}")[:count]
