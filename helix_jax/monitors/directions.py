"""Directions of states that separate a class from the rest: three ways to find one.

    mean       w = mean of the class - mean of the rest;   b = -w (their midpoint)
    logistic   w, b of a logistic probe with an L2 penalty
    sparse     the same with an L1 penalty on standardised states (`sparse`)

The score of a state x is x w + b. As a monitor, w is a covector, which reads states; as
a steering vector it is a vector, which is added to them. The penalties of the last two
are chosen on the select split.

Reference: difference of means: Marks and Tegmark 2023, arXiv 2310.06824, section 5;
  Rimsky et al. 2023 (contrastive activation addition), arXiv 2312.06681, section 3.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from helix_jax import checks, kinds, numeric
from helix_jax.arguments import takes
from helix_jax.errors import RunError
from helix_jax.monitors.places import Place
from helix_jax.monitors.sparse import fit_sparse, select_sparse
from helix_jax.probes import train_probe
from helix_jax.types import Array

DIRECTION_KINDS = ("mean", "logistic", "sparse")


class Direction(NamedTuple):
    """A direction of the states of one place.

    Attributes:
      vector: [D] float64.
      bias: such that the score x vector + bias is above zero for the class.
      place: of the states, see `place_of`.
    """

    vector: np.ndarray
    bias: float
    place: Place

    def score(self, x: Array) -> np.ndarray:
        """[N] float64 scores of states [N, D]; higher for the class.

        Raises:
          ValueError: states of another width.
        """
        x = np.asarray(x, np.float64)
        checks.require_width("Direction.score", "x", x.shape[-1], len(self.vector))
        return x @ self.vector + self.bias


@takes(x=kinds.ARRAY, x_select=kinds.ARRAY)
def fit_direction(
    x: Array,
    labels: Array,
    x_select: Array,
    labels_select: Array,
    *,
    kind: str,
    place: Place,
) -> Direction:
    """The direction of a class.

    Args:
      x: [N, D] float, states of the fit split.
      labels: [N] bool or 0 and 1, whether a row is of the class.
      x_select: [M, D] float, states of the select split.
      labels_select: [M].
      kind: one of DIRECTION_KINDS.
      place: of the states.

    Returns:
      Direction.

    Raises:
      ValueError: another kind, labels other than 0 and 1, one class only, NaN.
      RunError: a fit is not to be trusted.
    """
    if kind not in DIRECTION_KINDS:
        raise ValueError(
            f"fit_direction: kind must be one of {', '.join(DIRECTION_KINDS)}, got "
            f"{kind!r}."
        )
    checks.require_matrix("fit_direction", "x", x)
    checks.require_finite("fit_direction", "x", x)
    labels = two_classes("fit_direction", labels, len(x))
    labels_select = two_classes("fit_direction", labels_select, len(x_select))
    if kind == "mean":
        rows = np.asarray(x, np.float64)
        rest, of_class = (rows[labels == label].mean(axis=0) for label in (0, 1))
        vector = of_class - rest
        return Direction(vector, float(-vector @ (of_class + rest) / 2), place)
    if kind == "sparse":
        chosen = select_sparse(fit_sparse(x, labels), x_select, labels_select)
        if chosen.failure:
            raise RunError(chosen.failure)
        vector, bias = chosen.vector, float(chosen.bias)
        return Direction(np.asarray(vector, np.float64), bias, place)
    trained = train_probe(x, labels, x_select, labels_select, 2)
    if trained.failure:
        raise RunError(trained.failure)
    kernel = np.asarray(trained.probe.kernel, np.float64)
    biases = np.asarray(trained.probe.bias, np.float64)
    return Direction(kernel[:, 1] - kernel[:, 0], float(biases[1] - biases[0]), place)


def fit_directions(
    x: Mapping[str, Array], labels: Mapping[str, Array], place: Place
) -> dict[str, Direction]:
    """A direction of each kind; x and labels are by split, "fit" and "select"."""
    rows: tuple[Any, ...] = (x["fit"], labels["fit"], x["select"], labels["select"])
    return {
        kind: fit_direction(*rows, kind=kind, place=place) for kind in DIRECTION_KINDS
    }


def two_classes(who: str, labels: Array, rows: int) -> np.ndarray:
    """[N] int labels of a class and the rest.

    Raises:
      ValueError: other than 0 and 1, or all of one class.
    """
    return np.asarray(numeric.require_labels(who, labels, 2, rows))
