"""How alike two places are, before anything is carried: what may predict an effect.

linear_cka        of the token states of both
r2_forward        of the map, on held-out token states; r2_backward likewise
round_trip        cosine of v and v K B: whether the maps keep the direction
native_cosine     cosine of the carried and the native direction; needs labels there
monitor_cosine    cosine of the carried and the native monitor; needs labels there
"""

from collections.abc import Mapping

import numpy as np

from helix_jax.alignment import Moments, evaluate_map
from helix_jax.monitors.crossing import Crossing, carry_monitor, carry_vector
from helix_jax.monitors.directions import Direction
from helix_jax.monitors.steering import cosine
from helix_jax.similarity import linear_cka
from helix_jax.similarity.predictivity import swapped

GEOMETRY = (
    "linear_cka",
    "r2_forward",
    "r2_backward",
    "round_trip",
    "native_cosine",
    "monitor_cosine",
)


def measure_geometry(
    crossing: Crossing, moments: Moments, own: Direction, native: Direction
) -> dict[str, float]:
    """All measures of GEOMETRY.

    Args:
      crossing: the maps from source to target.
      moments: of token states of the test split.
      own: the direction at the source.
      native: that of the target.

    Returns:
      name -> number.

    Raises:
      FingerprintError: a direction of another model or layer.
    """
    there = carry_vector(own, crossing)
    back = there @ np.asarray(crossing.backward.kernel, np.float64)
    monitor = carry_monitor(own, crossing).vector
    r2 = {
        "r2_forward": evaluate_map(crossing.forward, moments).r2,
        "r2_backward": evaluate_map(crossing.backward, swapped(moments)).r2,
    }
    measures: Mapping[str, float] = {
        "linear_cka": linear_cka(moments),
        **r2,
        "round_trip": cosine(own.vector, back),
        "native_cosine": cosine(there, native.vector),
        "monitor_cosine": cosine(monitor, native.vector),
    }
    return {name: float(measures[name]) for name in GEOMETRY}
