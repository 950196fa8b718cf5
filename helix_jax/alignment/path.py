"""Paths of affine maps that share their factors, scored from moments alone.

Every closed-form method returns its maps for P penalties or ranks as

    kernel_p = left diag(gains_p) right',      bias = mean_y - mean_x kernel_p

so one rule evaluates and selects among them, whatever the method. With G = (left'
cov_xx left) * (right' right) and h = diag(left' cov_xy right) of some rows, the
residual's covariance has the trace

    tr(cov_yy) - 2 gains_p' h + gains_p' G gains_p

Adding the squared mean residual gives the error: four products for all P maps.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax import checks, kinds
from helix_jax.alignment.maps import AffineMap
from helix_jax.alignment.moments import Moments, usable_moments
from helix_jax.arguments import takes
from helix_jax.linalg import product, wide
from helix_jax.penalties import choose_best
from helix_jax.types import Array


class FitResult(NamedTuple):
    """A fitted map and whether to trust it.

    Attributes:
      map: AffineMap.
      penalty: [] as requested; zero if the method has none.
      condition: [] condition number of the matrix that was inverted.
      rank: [] int, directions that the fit uses; for ridge and least squares the source
        directions whose variance is above rounding.
      ok: [] bool, the map is finite and the system was solvable in this precision.
    """

    map: AffineMap
    penalty: Array
    condition: Array
    rank: Array
    ok: Array

    @property
    def failure(self) -> str | None:
        """Why the map must not be used; None if it may. On the host only."""
        if bool(self.ok):
            return None
        return (
            f"the system could not be solved: condition {float(self.condition):g}, "
            f"rank {int(self.rank)}. Do the source states vary from text to text?"
        )


class MapPath(NamedTuple):
    """P affine maps in factored form; see the top of this file.

    Attributes:
      penalties: [P] as requested; zero if the method has none.
      rank: [P] int, directions that each map uses.
      gains: [P, K] weight of each direction.
      left: [dx, K] source directions.
      right: [dy, K] target directions.
      mean_x: [dx] of the fit rows.
      mean_y: [dy].
      condition: [P] as in `FitResult`.
      ok: [P] bool.
    """

    penalties: Array
    rank: Array
    gains: Array
    left: Array
    right: Array
    mean_x: Array
    mean_y: Array
    condition: Array
    ok: Array


class Selection(NamedTuple):
    """The map of a path that is best on a select split.

    Attributes:
      fit: FitResult for the chosen penalty or rank.
      index: [] int, its place in the path.
      r2: [P] variance-weighted R2 of every map on the select split.
      at_edge: [] bool, it is the first or last of the path: widen the grid.
    """

    fit: FitResult
    index: Array
    r2: Array
    at_edge: Array


@takes(path=kinds.MAP_PATH.but(RidgePath="ridge_at({}, index)"))
@wide
def map_at(path: MapPath, index: int | Array) -> FitResult:
    """The map at one place of a path.

    Raises:
      ValueError, TypeError: there is no such place. In a jit the last one is taken.
    """
    require_place("map_at", index, path.penalties.shape[0])
    return _map_at(path, index)


@jax.jit
def _map_at(path: MapPath, index: int | Array) -> FitResult:
    kernel = product(path.left * path.gains[index], path.right.T)
    bias = path.mean_y - product(path.mean_x, kernel)
    finite = jnp.all(jnp.isfinite(kernel)) & jnp.all(jnp.isfinite(bias))
    return FitResult(
        AffineMap(kernel, bias),
        path.penalties[index],
        path.condition[index],
        path.rank[index],
        path.ok[index] & finite,
    )


@takes(path=kinds.MAP_PATH.but(RidgePath="ridge_maps({})"))
@wide
@jax.jit
def path_maps(path: MapPath) -> FitResult:
    """All maps of a path: a FitResult whose arrays have a leading axis P."""
    return jax.vmap(lambda index: map_at(path, index))(
        jnp.arange(path.penalties.shape[0])
    )


@takes(
    path=kinds.MAP_PATH.but(RidgePath="select_penalty({}, moments).r2"),
    moments=kinds.MOMENTS,
)
@wide
def path_r2(path: MapPath, moments: Moments) -> Array:
    """Variance-weighted R2 of every map of a path on the rows of some moments.

    Args:
      path: P maps from dx to dy.
      moments: of the rows to score on, the same widths.

    Returns:
      [P] float.

    Raises:
      ValueError: widths differ, fewer than 2 rows, or NaN.

    Reference: ours.
    """
    moments = usable_moments("path_r2", moments)
    require_widths("path_r2", path.left.shape[0], path.right.shape[0], moments)
    return _path_r2(path, moments)


@jax.jit
def _path_r2(path: MapPath, moments: Moments) -> Array:
    left, right, gains = path.left, path.right, path.gains
    quadratic = product(left.T, product(moments.cov_xx, left))
    quadratic = quadratic * product(right.T, right)
    linear = jnp.sum(right * product(moments.cov_xy.T, left), axis=0)
    total = jnp.trace(moments.cov_yy)
    spread = total - 2 * product(gains, linear)
    spread = spread + jnp.sum(product(gains, quadratic) * gains, axis=1)
    shift = product(moments.mean_x - path.mean_x, left)
    offset = moments.mean_y - path.mean_y - product(gains * shift, right.T)
    return 1 - (spread + jnp.sum(offset**2, axis=1)) / total


@takes(
    path=kinds.MAP_PATH.but(RidgePath="select_penalty({}, moments)"),
    moments=kinds.MOMENTS,
)
@wide
def select_map(path: MapPath, moments: Moments) -> Selection:
    """Choose the map with the largest R2 on a select split, from its moments alone.

    Args:
      path: from a fit on the fit split.
      moments: of the select split, same widths.

    Returns:
      Selection.

    Raises:
      ValueError: as `path_r2`.
    """
    r2 = path_r2(path, moments)
    index, at_edge = choose_best(r2)
    return Selection(map_at(path, index), index, r2, at_edge)


def require_place(who: str, index: int | Array, count: int) -> None:
    """Raise unless a concrete index is one of `count` places; JAX would clamp it."""
    if not checks.is_concrete(index):
        return
    place = np.asarray(index)
    if place.ndim or place.dtype.kind not in "iu":
        raise TypeError(f"{who}: index needs one whole number, got {index!r}.")
    if not -count <= place < count:
        raise ValueError(f"{who}: index needs {-count} to {count - 1}, got {index}.")


def require_widths(who: str, dx: int, dy: int, moments: Moments) -> None:
    """Raise unless the moments are of the widths that a path maps."""
    if moments.cov_xy.shape != (dx, dy):
        raise ValueError(
            f"{who}: the path maps [{dx}, {dy}], the moments are of "
            f"{list(moments.cov_xy.shape)}. {other_widths(dx, dy, moments)}"
        )


def other_widths(dx: int, dy: int, moments: Moments) -> str:
    """What to do if a map's widths are not those of some moments."""
    if moments.cov_xy.shape == (dy, dx):
        return "x and y are exchanged: use similarity.swapped(moments)."
    return "Use splits of the same stores."
