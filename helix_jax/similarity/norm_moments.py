"""Moments including those of the rows' squared norms, for the unbiased HSIC.

With u = x - mean_x, v = y - mean_y, k = |u|^2 and l = |v|^2 the record adds the means
of k k, k l, l l (numbers) and of k u, k v, l u, l v (vectors). The vectors are there so
that records can be merged: moving the mean by d turns k into k - 2 d.u + |d|^2.

Reference: ours; the update extends Chan, Golub, LeVeque 1983 to these fourth moments.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax import checks, kinds
from helix_jax.alignment.accumulate import fold_rows
from helix_jax.alignment.moments import Moments, empty, from_batch, merge
from helix_jax.arguments import takes
from helix_jax.linalg import product, wide
from helix_jax.types import Array


class NormMoments(NamedTuple):
    """Moments and the moments of the squared norms k = |u|^2, l = |v|^2.

    Attributes:
      moments: Moments of the same rows.
      kk: [] mean of k^2.
      kl: [] mean of k l.
      ll: [] mean of l^2.
      ku: [dx] mean of k u.
      kv: [dy] mean of k v.
      lu: [dx] mean of l u.
      lv: [dy] mean of l v.
    """

    moments: Moments
    kk: Array
    kl: Array
    ll: Array
    ku: Array
    kv: Array
    lu: Array
    lv: Array


@takes(x=kinds.ARRAY, y=kinds.ARRAY)
@wide
def norms_from_batch(
    x: Array, y: Array, *, weights: Array | None = None
) -> NormMoments:
    """NormMoments of one batch of paired rows.

    Args:
      x: [N, dx] float, source states.
      y: [N, dy] float, target states.
      weights: [N] zero or one; rows of weight zero are ignored whatever they hold.

    Returns:
      NormMoments.

    Raises:
      ValueError, TypeError: as `from_batch`, or a weight other than zero and one.
    """
    moments = from_batch(x, y, weights=weights)
    if weights is not None and (
        checks.is_concrete(weights) and not np.isin(weights, (0, 1)).all()
    ):
        raise ValueError(
            "norms_from_batch: weights need to be zero or one; repeat rows that count "
            "more often."
        )
    weights = jnp.ones(x.shape[0]) if weights is None else jnp.asarray(weights)
    used = (weights > 0)[:, None]
    u = jnp.where(used, x - moments.mean_x, 0)
    v = jnp.where(used, y - moments.mean_y, 0)
    k, l = jnp.sum(u**2, axis=1), jnp.sum(v**2, axis=1)  # noqa: E741 - the equation's

    def mean(values: Array) -> Array:
        return jnp.sum(values, axis=0) / jnp.maximum(moments.count, 1)

    return NormMoments(
        moments,
        mean(k * k),
        mean(k * l),
        mean(l * l),
        mean(k[:, None] * u),
        mean(k[:, None] * v),
        mean(l[:, None] * u),
        mean(l[:, None] * v),
    )


@takes(a=kinds.NORM_MOMENTS, b=kinds.NORM_MOMENTS)
@wide
def merge_norms(a: NormMoments, b: NormMoments) -> NormMoments:
    """NormMoments of the rows of both records together.

    Raises:
      ValueError: the widths differ.
    """
    both = merge(a.moments, b.moments)
    a, b = _about(a, both), _about(b, both)
    f = b.moments.count / jnp.maximum(both.count, 1)
    means = jax.tree.map(lambda p, q: (1 - f) * p + f * q, a[1:], b[1:])
    return NormMoments(both, *means)


def _about(record: NormMoments, joint: Moments) -> NormMoments:
    """The record's norm moments about the means of `joint` instead of its own."""
    m = record.moments
    d, e = joint.mean_x - m.mean_x, joint.mean_y - m.mean_y
    k, l = jnp.trace(m.cov_xx), jnp.trace(m.cov_yy)  # noqa: E741 - the equation's
    dd, ee = product(d, d), product(e, e)

    def square(
        kl: Array,
        kv: Array,
        lu: Array,
        mean_k: Array,
        mean_l: Array,
        cov: Array,
        left: Array,
        right: Array,
    ) -> Array:
        lengths = (product(left, left), product(right, right))
        return (
            kl
            - 2 * (product(right, kv) + product(left, lu))
            + 4 * product(left, product(cov, right))
            + mean_k * lengths[1]
            + mean_l * lengths[0]
            + lengths[0] * lengths[1]
        )

    return record._replace(
        kk=square(record.kk, record.ku, record.ku, k, k, m.cov_xx, d, d),
        kl=square(record.kl, record.kv, record.lu, k, l, m.cov_xy, d, e),
        ll=square(record.ll, record.lv, record.lv, l, l, m.cov_yy, e, e),
        ku=record.ku - (k + dd) * d - 2 * product(m.cov_xx, d),
        kv=record.kv - (k + dd) * e - 2 * product(d, m.cov_xy),
        lu=record.lu - (l + ee) * d - 2 * product(m.cov_xy, e),
        lv=record.lv - (l + ee) * e - 2 * product(m.cov_yy, e),
    )


@takes(batches=kinds.STREAM)
def accumulate_norms(batches: Iterable[tuple[Any, Any]]) -> NormMoments:
    """NormMoments of a stream of paired row batches, in one pass.

    Args:
      batches: as for `accumulate`.

    Returns:
      NormMoments of all rows, float64 where the backend has it.

    Raises:
      ValueError: as `accumulate`.
    """
    return fold_rows(_update, _start, batches)


def _start(x: Array, y: Array) -> NormMoments:
    nothing = empty(x.shape[1], y.shape[1])
    zero = nothing.count
    vectors = (nothing.mean_x, nothing.mean_y, nothing.mean_x, nothing.mean_y)
    return NormMoments(nothing, zero, zero, zero, *vectors)


def _update(state: NormMoments, x: Array, y: Array, weights: Array) -> NormMoments:
    return merge_norms(state, norms_from_batch(x, y, weights=weights))
