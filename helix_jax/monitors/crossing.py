"""Maps in both directions between two models' states, and what they carry over.

With y_hat = x K + c from source to target and x_hat = y B + d back,

    monitor            w -> B w, b -> d w + b   the score of y is that of x_hat(y)
    steering vector    forward     v -> v K     where a shifted x goes
                       transpose   v -> v B'    what the carried monitor reads most
                       inverse     v -> v B+    the least shift of y that x_hat shows
                                                as v, over B's larger singular values

A monitor is a covector, carried against the direction of a map; a vector is carried
along it. Between spaces of different scales the transpose does not act as a vector, and
the inverse follows small singular values: which rule steers is a question for an
experiment.

Reference: ours; that a covector is carried by the transpose is linear algebra.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from helix_jax.alignment import AffineMap, Moments, fit_ridge, ridge_at
from helix_jax.monitors.directions import Direction
from helix_jax.monitors.places import Place, require_place
from helix_jax.similarity.predictivity import swapped
from helix_jax.transfer.pair_fit import choose_map

RULES = ("forward", "transpose", "inverse")
INVERSE_CUTOFF = 0.01
"""Singular values below this share of the largest are left out of the inverse."""


class Crossing(NamedTuple):
    """Maps both ways between two places.

    Attributes:
      source, target: places of x and of y.
      forward: from x to y.
      backward: from y to x.
      penalties: relative ones, of both maps.
    """

    source: Place
    target: Place
    forward: AffineMap
    backward: AffineMap
    penalties: tuple[float, float]

    def reversed(self) -> "Crossing":
        """The same maps, from target to source."""
        return Crossing(
            self.target, self.source, self.backward, self.forward, self.penalties[::-1]
        )


def fit_crossing(
    moments: Mapping[str, Moments], source: Place, target: Place
) -> Crossing:
    """The ridge maps both ways, their penalties chosen on the select split.

    Args:
      moments: of x and y, of the "fit" and the "select" split.
      source, target: places of x and of y.

    Raises:
      RunError: a map is not to be trusted.
    """
    there = choose_map(moments).fit
    back = choose_map({split: swapped(own) for split, own in moments.items()}).fit
    penalties = float(there.penalty), float(back.penalty)
    return Crossing(source, target, there.map, back.map, penalties)


def shuffled_crossing(crossing: Crossing, shuffled: Moments) -> Crossing:
    """The control: the same fit, with the same penalties, on shuffled pairs.

    Args:
      crossing: of the true pairs.
      shuffled: moments of x and y in pairs that do not belong together.
    """
    there, back = (
        ridge_at(fit_ridge(own, penalties=penalty), 0).map
        for own, penalty in zip((shuffled, swapped(shuffled)), crossing.penalties)
    )
    return crossing._replace(forward=there, backward=back)


def carry_monitor(direction: Direction, crossing: Crossing) -> Direction:
    """The monitor of the target that reads y as the source's reads x_hat(y).

    Args:
      direction: found at the crossing's source.
      crossing: the maps.

    Returns:
      Direction of the target's states.

    Raises:
      FingerprintError: the direction is of another model or layer.
    """
    _require_source(direction, crossing)
    kernel, bias = _arrays(crossing.backward)
    vector = kernel @ direction.vector
    carried_bias = float(bias @ direction.vector) + direction.bias
    return Direction(vector, carried_bias, crossing.target)


def carry_vector(
    direction: Direction,
    crossing: Crossing,
    *,
    rule: str = "forward",
    cutoff: float = INVERSE_CUTOFF,
) -> np.ndarray:
    """A steering vector of the target; see the top of this file.

    Args:
      direction: found at the crossing's source.
      crossing: the maps.
      rule: one of RULES.
      cutoff: of the inverse, as a share of the largest singular value.

    Returns:
      [dy] float64; its length means nothing, see `steering.dosed`.

    Raises:
      ValueError: another rule.
      FingerprintError: the direction is of another model or layer.
    """
    _require_source(direction, crossing)
    if rule == "forward":
        return direction.vector @ _arrays(crossing.forward)[0]
    backward = _arrays(crossing.backward)[0]
    if rule == "transpose":
        return backward @ direction.vector
    if rule == "inverse":
        return direction.vector @ np.linalg.pinv(backward, rcond=cutoff)
    raise ValueError(
        f"carry_vector: rule must be one of {', '.join(RULES)}, got {rule!r}."
    )


def _require_source(direction: Direction, crossing: Crossing) -> None:
    require_place(
        "the direction", direction.place, "the source of the maps", crossing.source
    )


def _arrays(affine: AffineMap) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(affine.kernel, np.float64), np.asarray(affine.bias, np.float64)
