"""A map whose index has grown with other texts: kept, refreshed, or refitted.

| kind      | moments                                                             |
|-----------|---------------------------------------------------------------------|
| refreshed | of the earlier texts, merged with those of n later ones             |
| weighted  | the same, with the weight of later rows that is best on later texts |
| refit     | of the n later texts alone                                          |
| rotated   | as refreshed, for a rotation (orthogonal Procrustes), not ridge     |

Of the earlier texts only moments are kept. Another n / 4 later texts, at least 20, are
embedded by both models to choose penalties and weights.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from helix_jax.activations import Pair
from helix_jax.alignment import (
    AffineMap,
    Moments,
    accumulate,
    fit_procrustes,
    fit_ridge,
    growing_moments,
    merge,
    select_penalty,
)
from helix_jax.errors import RunError
from helix_jax.linalg import wide
from helix_jax.text.hashing import hashed_order

WEIGHTS = (1.0, 3.0, 10.0, 30.0, 100.0)
LEAST_SELECT = 20
KINDS = ("refreshed", "weighted", "refit", "rotated")


@wide
def counted(moments: Moments, weight: float) -> Moments:
    """Moments of the same rows, each counted `weight` times."""
    return moments._replace(count=moments.count * weight)


def refresh_map(
    earlier: Moments, later: Moments, select: Moments, *, weights: Sequence[float]
) -> AffineMap:
    """The ridge map of earlier and later rows, penalty and weight chosen.

    Args:
      earlier: moments of the rows that the map was fitted on.
      later: moments of the new ones, the same widths.
      select: moments of other new ones.
      weights: of a later row, to choose among.

    Raises:
      RunError: the map is not to be trusted.
    """
    found = [
        select_penalty(fit_ridge(merge(earlier, counted(later, weight))), select)
        for weight in weights
    ]
    best = max(found, key=lambda one: float(np.nanmax(np.asarray(one.r2))))
    if best.fit.failure:
        raise RunError(best.fit.failure)
    return best.fit.map


def refreshed_maps(
    earlier: Moments, fit: Pair, select: Pair, sizes: Sequence[int], *, seed: int
) -> Iterator[tuple[int, dict[str, AffineMap]]]:
    """The maps of growing samples of later texts, each containing the one before.

    Args:
      earlier: moments of the rows that the map was fitted on.
      fit, select: pairs of later texts.
      sizes: n, ascending, the rows of `fit` at most.
      seed: of the order of the texts.

    Yields:
      n, {kind: map}.
    """
    order = hashed_order(fit.ids, salt=f"refresh {seed}")
    chosen = hashed_order(select.ids, salt=f"refresh {seed}")
    grown = growing_moments(*fit.read(), order=order, sizes=sizes)
    for size, later in zip(sizes, grown, strict=True):
        rows = np.sort(chosen[: max(LEAST_SELECT, size // 4)])
        held = accumulate(select.select(rows).rows())
        yield (
            size,
            {
                "refreshed": refresh_map(earlier, later, held, weights=(1.0,)),
                "weighted": refresh_map(earlier, later, held, weights=WEIGHTS),
                "refit": select_penalty(fit_ridge(later), held).fit.map,
                "rotated": fit_procrustes(merge(earlier, later)).map,
            },
        )
