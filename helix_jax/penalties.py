"""Grids of penalties: walked from the strongest to the weakest, and chosen from.

A fit of a weaker penalty starts from that of the next stronger one, so that a grid is
one path, whatever the order in which its penalties are asked for; and what is chosen is
the place of the best score on a select split, whatever was fitted.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax.linalg import first_argmax, wide, wide_dtype
from helix_jax.types import Array

Path = TypeVar("Path")


@wide
def strongest_first(fit: Callable[[Array], Path], penalties: np.ndarray) -> Path:
    """A path that was fitted from the strongest penalty on, in the order asked for.

    Args:
      fit: of penalties that do not ascend, a path: arrays with a leading axis P.
      penalties: [P] float, in any order.

    Returns:
      The path, in the order of `penalties`.
    """
    order = np.argsort(-penalties, kind="stable")
    back = np.argsort(order)
    path = fit(jnp.asarray(penalties[order], wide_dtype()))
    return jax.tree.map(lambda leaf: leaf[back], path)


@wide
def choose_best(scores: Array) -> tuple[Array, Array]:
    """The place of the best of a grid's scores.

    Args:
      scores: [P] float, more is better; one that is not finite is chosen only if none
        is finite.

    Returns:
      [] int32, the first of the best; [] bool, it is at an edge of the grid, so that a
      wider one may do better. A grid of one has no edge.
    """
    count = scores.shape[0]
    place = first_argmax(jnp.where(jnp.isfinite(scores), scores, -jnp.inf))
    return place, (count > 1) & ((place == 0) | (place == count - 1))
