"""A classification task on the states of two models, and the scores of its arms."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from helix_jax.activations import Pair
from helix_jax.alignment import AffineMap, StateMap, apply_map, r2_interval
from helix_jax.array_files import read_npz, write_npz
from helix_jax.errors import RunError
from helix_jax.probes import Probe, predict_logits, right_rows, train_probe
from helix_jax.progress import bar, stage
from helix_jax.stats import Interval, bootstrap_interval, paired_interval
from helix_jax.text.hashing import document_of, hashed_order

MapScores = dict[str, dict[str, Interval]]  # r2, accuracy -> map -> its score


class Task(NamedTuple):
    """Everything needed to score an arm; dictionaries are by split.

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

    def read_mapped(self, affine: StateMap, split: str = "test") -> np.ndarray:
        """The target's probe on mapped source states of a split: [N, C]."""
        return predict_logits(self.target_probe, apply_map(affine, self.x[split]))

    def map_states(self, affine: StateMap, splits: Sequence[str]) -> np.ndarray:
        """Mapped source states of some splits in their order: [N, dy] float64."""
        mapped = [np.asarray(apply_map(affine, self.x[split])) for split in splits]
        return np.concatenate(mapped).astype(np.float64)

    @property
    def classifier(self) -> AffineMap:
        """The target's probe as an affine map, kernel [dy, C] and bias [C] float64."""
        kernel, bias = self.target_probe.kernel, self.target_probe.bias
        return AffineMap(np.asarray(kernel, np.float64), np.asarray(bias, np.float64))

    def read_own(self) -> dict[str, np.ndarray]:
        """Each side's probe on its own states of the test split: side -> [N, C]."""
        return {
            "target": predict_logits(self.target_probe, self.y["test"]),
            "source": predict_logits(self.source_probe, self.x["test"]),
        }

    def name_largest(self) -> np.ndarray:
        """[N, C] logits that always predict the largest class of the fit split."""
        count = len(self.classes)
        largest = np.bincount(self.labels["fit"], minlength=count).argmax()
        return np.tile(np.eye(count)[largest], (len(self.documents), 1))

    def accuracy(self, logits: Any, split: str = "test") -> Interval:
        """Accuracy of [N, C] logits on a split, with its interval."""
        (right,) = right_rows([logits], self.labels[split])
        documents = self.documents
        if split != "test":
            documents = [document_of(text_id) for text_id in self.ids[split]]
        return bootstrap_interval(right, documents, resamples=self.resamples)

    def probe_accuracies(self) -> dict[str, Interval]:
        """target_probe, source_probe -> its accuracy on its own states."""
        own = self.read_own()
        return {f"{side}_probe": self.accuracy(logits) for side, logits in own.items()}

    def score_maps(self, maps: Mapping[str, StateMap]) -> MapScores:
        """R2 of each map on the test split, and the accuracy on what it maps."""
        scores: MapScores = {"r2": {}, "accuracy": {}}
        test = self.x["test"], self.y["test"]
        for name, affine in bar(maps.items(), "maps scored"):
            scores["r2"][name] = r2_interval(
                affine, test, self.documents, resamples=self.resamples
            )
            scores["accuracy"][name] = self.accuracy(self.read_mapped(affine))
        return scores

    def save_right(self, path: Path, arms: Mapping[str, Sequence[Any]]) -> None:
        """Save which arms are right on each test text, for `compare_arms`."""
        labels = self.labels["test"]
        rows = {name: right_rows(draws, labels).mean(0) for name, draws in arms.items()}
        rows["documents"] = np.array(self.documents)
        write_npz(path, rows, raises=RunError)


def make_task(
    pairs: Mapping[str, Pair], classes: Sequence[str], *, resamples: int = 2000
) -> Task:
    """Read the states of both sides and train both probes.

    Args:
      pairs: of "fit", "select" and "test", labelled.
      classes: names of the C classes.
      resamples: of the bootstrap over documents.

    Raises:
      RunError: a probe cannot be trusted.
    """
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
        tuple(classes),
        probe_of("target", y),
        probe_of("source", x),
        [document_of(text_id) for text_id in pairs["test"].ids],
        resamples,
    )


def trained_probe(
    x: Any, labels: Any, x_select: Any, labels_select: Any, classes: int
) -> Probe:
    """The probe whose penalty is best on the select rows, see `train_probe`.

    Raises:
      RunError: it is not to be trusted; says why.
    """
    chosen = train_probe(x, labels, x_select, labels_select, classes)
    if chosen.failure:
        raise RunError(chosen.failure)
    return chosen.probe


def draw_texts(ids: Sequence[str], count: int, *, seed: int) -> np.ndarray:
    """[count] rows of N texts, chosen by a hash of their ids.

    Raises:
      RunError: `count` is not below the number of texts.
    """
    if count >= len(ids):
        raise RunError(
            f"a few-shot draw of {count} texts needs a larger fit split than "
            f"{len(ids)} texts; draw fewer."
        )
    return hashed_order(ids, salt=f"few-shot {seed}")[:count]


def compare_arms(
    folder: str | Path, name: str, other: str, *, resamples: int = 2000
) -> Interval:
    """Accuracy of one arm minus that of another, on the same texts.

    Args:
      folder: where `Task.save_right` wrote right.npz.
      name, other: arms of it.
      resamples: of the paired bootstrap over documents.

    Raises:
      RunError: there is no such arm.
    """
    path = Path(folder) / "right.npz"
    rows = read_npz(path, remedy="delete it and run again", raises=RunError)
    missing = [arm for arm in (name, other) if arm not in rows]
    if missing:
        raise RunError(f"{folder} has no arm {missing[0]!r}, only {list(rows)}.")
    return paired_interval(
        rows[name], rows[other], rows["documents"], resamples=resamples
    )
