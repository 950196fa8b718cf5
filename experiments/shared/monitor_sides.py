"""The models of the program `monitors`, their states, directions and maps."""

import functools
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.shared.kept_arrays import kept
from experiments.shared.monitor_options import MonitorOptions
from experiments.shared.sides import open_corpus
from helix_jax.alignment import Moments
from helix_jax.errors import RunError
from helix_jax.generation.token_sides import TokenSides, sample_texts
from helix_jax.models import Model, load_model, load_tokenizer, model_name
from helix_jax.monitors import (
    DIRECTION_KINDS,
    fit_directions,
    place_of,
    read_text_states,
)
from helix_jax.monitors.arms import Origin
from helix_jax.monitors.crossing import fit_crossing, shuffled_crossing
from helix_jax.monitors.directions import Direction
from helix_jax.monitors.pair_moments import SHUFFLED, PairMoments, read_pair_moments
from helix_jax.monitors.places import Place
from helix_jax.progress import stage
from helix_jax.runs import Run
from helix_jax.similarity.predictivity import swapped
from helix_jax.text.corpus import Corpus, require_labels
from helix_jax.text.hashing import SPLITS
from helix_jax.types import Text

Node = tuple[int, int]  # index of a model in the list, layer
Labelled = tuple[dict[str, list[Text]], dict[str, np.ndarray]]


class Side(NamedTuple):
    """A model with its states and directions of the labelled texts.

    Attributes:
      name: short name.
      model, tokenizer: loaded.
      layers: n layers, ascending.
      rows: split -> [n, N, D] states.
      scale: [n] norm of a token's state.
      directions: layer -> kind -> direction.
    """

    name: str
    model: Model
    tokenizer: Any
    layers: tuple[int, ...]
    rows: Mapping[str, np.ndarray]
    scale: np.ndarray
    directions: Mapping[int, Mapping[str, Direction]]

    def rows_at(self, layer: int, split: str) -> np.ndarray:
        """[N, D] states of a split at a layer."""
        return self.rows[split][self.layers.index(layer)]

    def gap_at(self, layer: int) -> float:
        """Distance between the mean states of the class and the rest at a layer."""
        return float(np.linalg.norm(self.directions[layer]["mean"].vector))

    def scale_at(self, layer: int) -> float:
        """Norm of a token's state at a layer."""
        return float(self.scale[self.layers.index(layer)])


def read_labelled(
    config: MonitorOptions, name: str | None = None, *, positive: str = ""
) -> tuple[str, Labelled]:
    """The class, the labelled texts of every split, and whether each is of the class.

    Args:
      config: the program's flags.
      name: corpus instead of --data.
      positive: the class; empty: that of the flags, or the last.

    Raises:
      RunError: there is no such class.
    """
    corpus = open_corpus(config, name, labelled=True)
    classes = require_labels(corpus)
    positive = positive or config.positive or classes[-1]
    if positive not in classes:
        known = f"{corpus.name} has the classes {', '.join(classes)}"
        raise RunError(
            f"--judge_data={name}: {known}, not {positive!r}, which is monitored."
            if name
            else f"--positive={positive}: {known}; name one of them."
        )
    texts = {split: list(corpus.read(split)) for split in SPLITS}
    wanted = classes.index(positive)
    labels = {
        split: np.array([text.label == wanted for text in own], int)
        for split, own in texts.items()
    }
    return positive, (texts, labels)


def layers_at(depths: Sequence[int], blocks: int) -> tuple[int, ...]:
    """The layers at some percentages of the blocks, ascending, without repeats."""
    return tuple(sorted({round(depth * blocks / 100) for depth in depths}))


def load_monitored(config: MonitorOptions, run: Run, labelled: Labelled) -> list[Side]:
    """Every model with its states and directions."""
    texts, labels = labelled
    sides = []
    for number, name in enumerate(config.models):
        with stage(f"loading {model_name(name)}"):
            model = load_model(name, dtype=config.dtype)
            tokenizer = load_tokenizer(name)
        layers = layers_at(config.depths, model.spec.num_layers)
        read = functools.partial(_states, config, model, tokenizer, texts)
        arrays = kept(run, f"states-{number}", read)
        rows = {split: arrays[split] for split in SPLITS}
        places = [place_of(model, layer) for layer in layers]
        find = functools.partial(_directions, rows, labels, places)
        found = kept(run, f"directions-{number}", find)
        directions = {
            layer: {
                kind: Direction(vector, float(bias), place)
                for kind, vector, bias in zip(DIRECTION_KINDS, *of_layer)
            }
            for layer, place, *of_layer in zip(
                layers, places, found["vectors"], found["biases"]
            )
        }
        short = Path(model_name(name)).name
        scale = arrays["scale"]
        sides.append(Side(short, model, tokenizer, layers, rows, scale, directions))
    return sides


def _states(
    config: MonitorOptions, model: Model, tokenizer: Any, texts: Mapping
) -> dict[str, np.ndarray]:
    layers = layers_at(config.depths, model.spec.num_layers)
    arrays = {}
    for split, own in texts.items():
        read = read_text_states(
            model, tokenizer, own, layers, max_tokens=config.max_tokens
        )
        arrays[split] = read.rows
        if split == "fit":
            arrays["scale"] = read.scale
    return arrays


def _directions(
    rows: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray],
    places: Sequence[Place],
) -> dict[str, np.ndarray]:
    """Vectors [n, kinds, D] and biases [n, kinds] of n layers."""
    found = []
    for number, place in enumerate(places):
        own = {split: of_split[number] for split, of_split in rows.items()}
        with stage(f"directions of {place['model']}, layer {place['layer']}"):
            found.append(fit_directions(own, labels, place))
    return {
        name: np.array(
            [[getattr(own[kind], field) for kind in DIRECTION_KINDS] for own in found]
        )
        for name, field in (("vectors", "vector"), ("biases", "bias"))
    }


class Crossed(NamedTuple):
    """Maps and moments between a source and a target.

    Attributes:
      origin: of the source, with the maps to the target.
      test: moments of their token states on the test split.
    """

    origin: Origin
    test: Moments


def cross_sides(
    config: MonitorOptions, run: Run, sides: Sequence[Side], public: Corpus
) -> dict[tuple[Node, Node], Crossed]:
    """Maps between any two layers of any two models."""
    limits = dict(zip(SPLITS, (config.pairs, config.select_pairs, config.test_pairs)))
    most = {"max_tokens": config.max_tokens}
    texts = {
        split: sample_texts(public, split, 2 * limit, **most)
        for split, limit in limits.items()
    }
    crossed = {}
    for a, b in itertools.combinations(range(len(sides)), 2):
        both = sides[a], sides[b]
        layers = both[0].layers, both[1].layers
        pair = TokenSides(
            tuple(side.model for side in both), tuple(side.tokenizer for side in both)
        )
        key = jax.random.key(config.seed)

        def read(pair=pair, layers=layers, key=key) -> dict[str, np.ndarray]:
            settings = {"limits": limits, "key": key} | most
            return read_pair_moments(pair, texts, layers, **settings).arrays()

        arrays = kept(run, f"moments-{a}-{b}", read)
        found = PairMoments.of_arrays(arrays, layers)
        for pair_of_layers in itertools.product(*layers):
            moments = found.of_pair(*pair_of_layers)
            nodes = tuple(zip((a, b), pair_of_layers))
            crossed |= _both_ways(sides, nodes, moments)
    return crossed


def _both_ways(
    sides: Sequence[Side], nodes: tuple[Node, Node], moments: Mapping[str, Moments]
) -> dict[tuple[Node, Node], Crossed]:
    """The crossing of two nodes, in both directions."""
    places = [place_of(sides[number].model, layer) for number, layer in nodes]
    with stage(f"maps between {places[0]['layer']} and {places[1]['layer']}"):
        there = fit_crossing(moments, *places)
        shuffled = shuffled_crossing(there, moments[SHUFFLED])
    test, own = moments["test"], [sides[n].directions[layer] for n, layer in nodes]
    back = there.reversed(), shuffled.reversed()
    return {
        nodes: Crossed(Origin(own[0], there, shuffled), test),
        nodes[::-1]: Crossed(Origin(own[1], *back), swapped(test)),
    }
