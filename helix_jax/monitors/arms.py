"""All vectors that steer a model at a layer: its own, carried ones, and controls.

| arm           | vector                                                          |
|---------------|-----------------------------------------------------------------|
| native        | the target's own direction, difference of means                 |
| native logistic | the same, of a logistic probe                                 |
| random N      | uniform direction, of the same length: control                  |
| forward, transpose, inverse | the source's direction, carried by each rule      |
| logistic      | the source's logistic direction, carried forward                |
| shuffled      | carried forward by the map of shuffled pairs: control           |
| complement    | the part of the forward one orthogonal to the native: control   |
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from helix_jax.monitors.crossing import RULES, Crossing, carry_vector
from helix_jax.monitors.directions import Direction
from helix_jax.monitors.steering import random_vectors, without

NATIVE = ("native", "native logistic")
CARRIED = (*RULES, "logistic", "shuffled", "complement")


class Origin(NamedTuple):
    """A place that directions come from.

    Attributes:
      directions: found there, by kind.
      crossing: the maps from there to the target.
      shuffled: those of shuffled pairs.
    """

    directions: Mapping[str, Direction]
    crossing: Crossing
    shuffled: Crossing


def native_vectors(
    directions: Mapping[str, Direction], *, draws: int, seed: int
) -> dict[str, np.ndarray]:
    """A place's own directions, and random ones of the same space.

    Args:
      directions: found there, by kind.
      draws: how many are random.
      seed: of the draws.
    """
    width = len(directions["mean"].vector)
    drawn = random_vectors(draws, width, seed=seed)
    own = (directions["mean"].vector, directions["logistic"].vector)
    randoms = {f"random {number}": vector for number, vector in enumerate(drawn)}
    return dict(zip(NATIVE, own)) | randoms


def carried_vectors(origin: Origin, native: Direction) -> dict[str, np.ndarray]:
    """CARRIED -> vector [dy] from one place.

    Args:
      origin: the source's directions and maps.
      native: the target's own direction.

    Raises:
      FingerprintError: directions or maps of other models or layers.
    """
    mean, crossing = origin.directions["mean"], origin.crossing
    vectors = {rule: carry_vector(mean, crossing, rule=rule) for rule in RULES}
    vectors["logistic"] = carry_vector(origin.directions["logistic"], crossing)
    vectors["shuffled"] = carry_vector(mean, origin.shuffled)
    vectors["complement"] = without(vectors["forward"], native.vector)
    return vectors
