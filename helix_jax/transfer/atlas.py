"""Maps between every ordered pair of models' layers, from existing stores.

The moments of a pair are taken once for both directions; a layer's classifier is
trained once for all its pairs.
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping

import numpy as np

from helix_jax.activations import Store, join
from helix_jax.alignment import r2_interval
from helix_jax.errors import RunError
from helix_jax.probes import Probe
from helix_jax.progress import stage
from helix_jax.similarity import swapped
from helix_jax.stats import Interval
from helix_jax.text.hashing import SPLITS, document_of
from helix_jax.transfer.pair_fit import PairFit, choose_map, fit_pairs
from helix_jax.transfer.task import Task, trained_probe

CONTROLS = ("shuffled", "random")


@dataclasses.dataclass(frozen=True, eq=False)
class Node:
    """One layer of one model: its states of every split, and its classifier.

    Attributes:
      name: of model and layer, usable as a folder name.
      model: its name.
      given: the name given by the user.
      stores: by split, of one layer.
      classes: names of the classes of the texts, or None.
    """

    name: str
    model: str
    given: str
    stores: Mapping[str, Store]
    classes: tuple[str, ...] | None = None

    @functools.cached_property
    def rows(self) -> dict[str, np.ndarray]:
        """[N, D] float32 by split."""
        return {split: self.stores[split].read() for split in SPLITS}

    @functools.cached_property
    def labels(self) -> dict[str, np.ndarray]:
        """[N] int by split."""
        return {split: self.stores[split].labels for split in SPLITS}

    @functools.cached_property
    def probe(self) -> Probe:
        """The classifier of its states; RunError if it cannot be trusted."""
        if self.classes is None:
            raise RunError(
                f"{self.given} has no classes to train a classifier on; extract its "
                "states from a labelled corpus."
            )
        fit, select = SPLITS[:2]
        with stage(f"training the classifier of {self.name}"):
            return trained_probe(
                self.rows[fit],
                self.labels[fit],
                self.rows[select],
                self.labels[select],
                len(self.classes),
            )


def fit_both(a: Node, b: Node) -> Iterator[tuple[Node, Node, PairFit]]:
    """The maps between two nodes, as (source, target, fit), in both directions.

    Raises:
      RunError: a map is not to be trusted.
    """
    pairs = {split: join(a.stores[split], b.stores[split]) for split in SPLITS}
    there = fit_pairs(pairs)
    yield a, b, there
    back = {split: type(pair)(pair.y, pair.x) for split, pair in pairs.items()}
    moments = {split: swapped(own) for split, own in there.moments.items()}
    yield b, a, PairFit(back, moments, choose_map(moments))


def score_fit(
    source: Node, target: Node, fitted: PairFit, *, seed: int, resamples: int
) -> dict[str, float | Interval]:
    """The scores of a map on the test split, with those of the controls.

    Args:
      source, target: of the map.
      fitted: the map.
      seed: of the controls.
      resamples: of the bootstrap over documents.

    Returns:
      test/r2 and test/NAME_r2 of each of CONTROLS; with classes test/mapped_accuracy,
      test/NAME_accuracy, and those of both sides' own classifiers.
    """
    controls = fitted.controls(seed)
    maps = {"": fitted.map} | {f"{name}_": controls[name] for name in CONTROLS}
    documents = [document_of(text_id) for text_id in target.stores["test"].ids]
    test = source.rows["test"], target.rows["test"]
    numbers: dict[str, float | Interval] = {
        f"test/{name}r2": r2_interval(one, test, documents, resamples=resamples)
        for name, one in maps.items()
    }
    if target.classes is not None:
        task = Task(
            source.rows,
            target.rows,
            target.labels,
            {split: target.stores[split].ids for split in SPLITS},
            target.classes,
            target.probe,
            source.probe,
            documents,
            resamples,
        )
        for name, one in maps.items():
            found = task.accuracy(task.read_mapped(one))
            numbers[f"test/{name or 'mapped_'}accuracy"] = found
        for side, logits in task.read_own().items():
            numbers[f"test/{side}_accuracy"] = task.accuracy(logits)
        numbers["test/largest_class_accuracy"] = task.accuracy(task.name_largest())
    return numbers | fitted.numbers()
