"""Joint second moments of paired states: the record that every solver takes.

    count   n = sum_i w_i
    mean_x  mu = sum_i w_i x_i / n                  mean_y likewise
    cov_xy  sum_i w_i (x_i - mu)(y_i - nu)' / n     cov_xx, cov_yy likewise

Covariances are divided by n (not n - 1), so that merging is a weighted average.

A batch is centred before its products (corrected two-pass), and two records merge by
the pairwise update, so means far from zero cost no precision. Everything runs in
float64 if the backend has it; see `from_batch` for narrower settings.

Reference: Chan, Golub, LeVeque 1983, "Algorithms for computing the sample variance",
  equations 1.7 (corrected two-pass) and 2.1 (pairwise update).
"""

import functools
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax import checks, kinds, numeric
from helix_jax.alignment.limbs import LIMBS_OF, limb_gram
from helix_jax.arguments import takes
from helix_jax.linalg import laid_out_transpose, product, wide, wide_dtype
from helix_jax.types import Array


class Moments(NamedTuple):
    """Count, means and covariances of paired rows, x source and y target.

    Attributes:
      count: [] number of rows, or sum of their weights, always in the widest dtype:
        float32 counts only to 16,777,216.
      mean_x: [dx] mean of the source states.
      mean_y: [dy] mean of the target states.
      cov_xx: [dx, dx] covariance of the source states, divided by count.
      cov_xy: [dx, dy] cross-covariance.
      cov_yy: [dy, dy] covariance of the target states.
    """

    count: Array
    mean_x: Array
    mean_y: Array
    cov_xx: Array
    cov_xy: Array
    cov_yy: Array


@takes(dx=kinds.COUNT, dy=kinds.COUNT)
@wide
def empty(dx: int, dy: int, *, dtype: Any = None) -> Moments:
    """Moments of no rows, the neutral element of `merge`."""
    if min(dx, dy) < 0:
        raise ValueError(f"empty: widths must not be negative, got {dx} and {dy}.")
    dtype = _float_dtype("empty", "dtype", dtype or wide_dtype())
    shapes = ((dx,), (dy,), (dx, dx), (dx, dy), (dy, dy))
    count = jnp.zeros((), wide_dtype())
    return Moments(count, *(jnp.zeros(shape, dtype) for shape in shapes))


@takes(x=kinds.ARRAY, y=kinds.ARRAY)
@wide
def from_batch(
    x: Array,
    y: Array,
    *,
    weights: Array | None = None,
    dtype: Any = None,
    product_dtype: Any = None,
) -> Moments:
    """Moments of one batch of paired rows.

    With a = the mean as first computed, u = x - a, and r the mean of u (zero but for
    rounding): mean = a + r, cov = u'u / n - r r'.

    Args:
      x: [N, dx] float, source states.
      y: [N, dy] float, target states.
      weights: [N] not negative; None counts each row once. Rows of weight zero are
        ignored whatever they hold.
      dtype: of the result; None is float64 where the backend has it. "float32" is
        what a TPU runs: covariances stay accurate because rows are centred first, but
        means, and so later merges, keep only 24 bits.
      product_dtype: of the matrix products, which are nearly all of the cost; None is
        `dtype`. "float32" is 2 to 3 times as fast on a CPU, and more on a GPU with
        slow float64, for covariances that are accurate to about 1e-7 of their norm.
        "bfloat16x2" and "bfloat16x3" are 3 and 6 products of bfloat16 each, see
        `limbs.py`, for backends that are fast only in narrow dtypes.

    Returns:
      Moments.

    Raises:
      ValueError: x and y differ in rows, or are not matrices; a weight is negative or
        not finite.
      TypeError: x, y or a dtype is not floating-point.

    Reference: Chan, Golub, LeVeque 1983, equation 1.7.
    """
    checks.require_pair("from_batch", x, y)
    dtype = _float_dtype("from_batch", "dtype", dtype or wide_dtype())
    products = product_dtype
    if products not in LIMBS_OF:
        products = _float_dtype("from_batch", "product_dtype", product_dtype or dtype)
    if weights is None:
        weights = jnp.ones(x.shape[0], dtype)
    else:
        weights = usable_weights("from_batch", weights, x.shape[0])
    return _from_batch(x, y, weights, dtype, products)


def _float_dtype(who: str, name: str, given: Any) -> Any:
    """A dtype by its name, refused if it cannot hold fractions."""
    dtype = jnp.dtype(given)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"{who}: {name} needs a floating-point dtype, got {dtype}.")
    return dtype


def usable_weights(who: str, weights: Any, rows: int) -> Array:
    """Weights [rows] of rows as floats, refused if negative or not finite."""
    if np.shape(weights) != (rows,):
        raise ValueError(
            f"{who}: weights need shape [{rows}], one for each row, got "
            f"{list(np.shape(weights))}."
        )
    weights = numeric.numbers(who, "weights", weights)
    if checks.is_concrete(weights):
        values = np.asarray(weights)
        good = (values >= 0) & (values < np.inf)
        if not good.all():
            row = int(np.argmin(good))
            raise ValueError(
                f"{who}: weights need to be finite and not negative, got {values[row]} "
                f"in row {row}."
            )
    return weights


def usable_moments(who: str, moments: Moments) -> Moments:
    """The moments in the widest dtype, refused if not finite or of one row only."""
    checks.require_rows(who, moments.count, 2, "a covariance needs two")
    for name, value in moments._asdict().items():
        if checks.is_concrete(value) and not np.isfinite(np.asarray(value)).all():
            raise ValueError(
                f"{who}: {name} of the moments holds NaN or infinity. "
                "A state may have overflowed: accumulate() names its row."
            )
    return jax.tree.map(lambda leaf: jnp.asarray(leaf).astype(wide_dtype()), moments)


@functools.partial(jax.jit, static_argnames=("dtype", "product_dtype"))
def _from_batch(
    x: Array, y: Array, weights: Array, dtype: Any, product_dtype: Any
) -> Moments:
    count = jnp.sum(weights, dtype=wide_dtype())
    share = _share(weights, count).astype(dtype)
    u, mean_x, rest_x = _centre(x, share, dtype)
    v, mean_y, rest_y = _centre(y, share, dtype)
    xx, xy, yy = _products(u, v, product_dtype)
    return Moments(
        count,
        mean_x,
        mean_y,
        xx.astype(dtype) - jnp.outer(rest_x, rest_x),
        xy.astype(dtype) - jnp.outer(rest_x, rest_y),
        yy.astype(dtype) - jnp.outer(rest_y, rest_y),
    )


def _products(u: Array, v: Array, product_dtype: Any) -> tuple[Array, Array, Array]:
    """u'u, u'v and v'v."""
    if product_dtype in LIMBS_OF:
        limbs = LIMBS_OF[product_dtype]
        pairs = ((u, u), (u, v), (v, v))
        return tuple(limb_gram(*pair, kind="bfloat16", limbs=limbs) for pair in pairs)
    u, v = u.astype(product_dtype), v.astype(product_dtype)
    ut, vt = laid_out_transpose(u), laid_out_transpose(v)
    return product(ut, u), product(ut, v), product(vt, v)


def _share(weights: Array, total: Array) -> Array:
    """Weights divided by their sum; zero where the sum is zero."""
    return weights / jnp.where(total > 0, total, 1)


def _centre(x: Array, share: Array, dtype: Any) -> tuple[Array, Array, Array]:
    """Rows minus a first mean, times the root of their share; mean; its correction."""
    share = share[:, None]
    x = jnp.where(share > 0, jnp.asarray(x).astype(dtype), 0)
    anchor = jnp.sum(share * x, axis=0)
    root = jnp.sqrt(share)
    u = root * (x - anchor)
    rest = jnp.sum(root * u, axis=0)
    return u, anchor + rest, rest


@takes(a=kinds.MOMENTS, b=kinds.MOMENTS)
@wide
@jax.jit
def merge(a: Moments, b: Moments) -> Moments:
    """Moments of the rows of both records together.

    With f = n_b / (n_a + n_b) and d = mean_b - mean_a:
    mean = mean_a + f d, cov = (1 - f) cov_a + f cov_b + f (1 - f) d d'.

    Args:
      a: Moments.
      b: Moments of the same widths.

    Returns:
      Moments; `merge(a, empty)` is `a`.

    Raises:
      ValueError: the widths differ.

    Reference: Chan, Golub, LeVeque 1983, equation 2.1.
    """
    if a.cov_xy.shape != b.cov_xy.shape:
        raise ValueError(
            f"merge: both records need the same widths, got {list(a.cov_xy.shape)} and "
            f"{list(b.cov_xy.shape)}. Merge moments of the same two models and layers."
        )
    count = a.count.astype(wide_dtype()) + b.count
    f = _share(b.count, count).astype(jnp.result_type(a.cov_xy, b.cov_xy))
    dx, dy = b.mean_x - a.mean_x, b.mean_y - a.mean_y

    def both(cov_a: Array, cov_b: Array, left: Array, right: Array) -> Array:
        return (1 - f) * cov_a + f * cov_b + f * (1 - f) * jnp.outer(left, right)

    return Moments(
        count,
        a.mean_x + f * dx,
        a.mean_y + f * dy,
        both(a.cov_xx, b.cov_xx, dx, dx),
        both(a.cov_xy, b.cov_xy, dx, dy),
        both(a.cov_yy, b.cov_yy, dy, dy),
    )


@takes(parts=kinds.SEVERAL_MOMENTS)
def merge_all(parts: Iterable[Moments]) -> Moments:
    """Merge any number of records, as a balanced tree so that rounding grows as log n.

    Raises:
      ValueError: there are none.
    """
    parts = list(parts)
    if not parts:
        raise ValueError("merge_all: needs at least one record, got none.")
    while len(parts) > 1:
        pairs = [merge(a, b) for a, b in zip(parts[::2], parts[1::2])]
        parts = pairs + (parts[-1:] if len(parts) % 2 else [])
    return parts[0]


@takes(moments=kinds.MOMENTS)
@wide
def select_columns(
    moments: Moments, x: slice | Array = slice(None), y: slice | Array = slice(None)
) -> Moments:
    """Moments of some columns of each side, such as one layer among several.

    Args:
      moments: of all columns.
      x, y: which of the dx source columns and of the dy target columns, slices or
        [n] int.
    """
    return Moments(
        moments.count,
        moments.mean_x[x],
        moments.mean_y[y],
        moments.cov_xx[x][:, x],
        moments.cov_xy[x][:, y],
        moments.cov_yy[y][:, y],
    )


@takes(moments=kinds.MOMENTS)
@wide
def translate(moments: Moments, by_x: Array, by_y: Array) -> Moments:
    """Moments of the rows x + by_x, y + by_y: only the means move."""
    for name, by, mean in (
        ("by_x", by_x, moments.mean_x),
        ("by_y", by_y, moments.mean_y),
    ):
        if np.ndim(by):
            checks.require_shape("translate", name, by, mean.shape)
    return moments._replace(mean_x=moments.mean_x + by_x, mean_y=moments.mean_y + by_y)


@takes(moments=kinds.MOMENTS)
@wide
def all_merge(moments: Moments, axis_name: str | tuple[str, ...]) -> Moments:
    """Merge one record per device over a mapped axis; every device gets the result.

    Args:
      moments: this device's record, inside shard_map, pmap or vmap with `axis_name`.
      axis_name: the mapped axis or axes.

    Returns:
      Moments of all devices' rows.

    Reference: the corrected two-pass form of Chan, Golub, LeVeque 1983, equation 1.7,
      with devices for rows.
    """
    count = jax.lax.psum(moments.count.astype(wide_dtype()), axis_name)
    share = _share(moments.count, count).astype(moments.cov_xy.dtype)

    def average(value: Array) -> Array:
        return jax.lax.psum(share * value, axis_name)

    anchor_x, anchor_y = average(moments.mean_x), average(moments.mean_y)
    dx, dy = moments.mean_x - anchor_x, moments.mean_y - anchor_y
    rest_x, rest_y = average(dx), average(dy)

    def together(cov: Array, left: Array, right: Array, rest: Array) -> Array:
        return average(cov + jnp.outer(left, right)) - rest

    return Moments(
        count,
        anchor_x + rest_x,
        anchor_y + rest_y,
        together(moments.cov_xx, dx, dx, jnp.outer(rest_x, rest_x)),
        together(moments.cov_xy, dx, dy, jnp.outer(rest_x, rest_y)),
        together(moments.cov_yy, dy, dy, jnp.outer(rest_y, rest_y)),
    )
