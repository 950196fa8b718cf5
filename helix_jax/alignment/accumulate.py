"""Streams of row batches folded into a record: one compiled step, memory of one block.

Every block has the shape of the first batch: a shorter one is padded with rows of
weight zero, a longer one is cut, so that nothing recompiles. The record is donated to
each step. At most two blocks wait on the device, so memory does not grow with the
number of rows however fast they arrive.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax import checks, kinds
from helix_jax.alignment.moments import Moments, empty, from_batch, merge, translate
from helix_jax.arguments import described, takes
from helix_jax.linalg import wide
from helix_jax.types import Array

_S = TypeVar("_S")


class _Progress(NamedTuple):
    """Rows folded so far, and the first row that was not finite (-1: none)."""

    rows: Array
    bad_x: Array
    bad_y: Array


@takes(batches=kinds.STREAM)
def fold_rows(
    update: Callable[[_S, Array, Array, Array], _S],
    state: _S | Callable[[Array, Array], _S],
    batches: Iterable[tuple[Any, Any]],
) -> _S:
    """Fold paired row batches into a record with one compiled, donated step.

    Args:
      update: pure function (state, x [B, dx], y [B, dy], weights [B]) -> state, of
        module level so that its compilation is reused. Weight zero marks padding.
      state: the record to start from, or a function of the first batch that makes it.
        Its arrays are donated.
      batches: pairs of [B, dx] and [B, dy] float arrays, B may vary.

    Returns:
      The record after all rows.

    Raises:
      ValueError: no batch came, shapes differ, or a row holds NaN or infinity.
    """
    progress = None
    waiting: list[Array] = []
    for x, y, weights in _blocks(batches):
        if progress is None:
            state, progress = _begin(state, x, y)
        state, progress, tick = _step(update)(state, progress, x, y, weights)
        waiting.append(tick)
        if len(waiting) > 2:
            waiting.pop(0).block_until_ready()
    if progress is None:
        raise ValueError(
            "fold_rows: needs at least one batch of rows, got none. "
            "Check that the store, or the split, is not empty."
        )
    for name, row in (("x", int(progress.bad_x)), ("y", int(progress.bad_y))):
        if row >= 0:
            raise ValueError(
                f"fold_rows: {name} holds NaN or infinity, first in row {row} of the "
                "stream. Extract these states again, in a wider dtype if they "
                "overflowed."
            )
    return state


@wide
def _begin(state: Any, x: Array, y: Array) -> tuple[Any, _Progress]:
    """The record to start from, in arrays of its own, and nothing read so far."""
    state = state(x, y) if callable(state) else state
    state = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), state)
    return state, _Progress(*(jnp.full((), n, int) for n in (0, -1, -1)))


@functools.cache
def _step(update: Callable) -> Callable:
    def step(state, progress, x, y, weights):
        state = update(state, x, y, weights)
        rows = jnp.sum(weights > 0)
        progress = _Progress(
            progress.rows + rows,
            _first_bad(progress.bad_x, progress.rows, x),
            _first_bad(progress.bad_y, progress.rows, y),
        )
        return state, progress, progress.rows + 0

    return wide(jax.jit(step, donate_argnums=(0, 1)))


def _first_bad(known: Array, start: Array, x: Array) -> Array:
    bad = ~jnp.all(jnp.isfinite(x), axis=1)
    here = jnp.where(jnp.any(bad), start + jnp.argmax(bad), -1)
    return jnp.where(known >= 0, known, here)


def _blocks(batches: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Array, Array, Array]]:
    """Batches as device blocks of the first batch's rows, with weights for padding."""
    size = None
    for number, item in enumerate(batches):
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise TypeError(
                f"fold_rows: batches need pairs (x, y), item {number} is "
                f"{described(item)}: of two arrays, use [(x, y)]."
            )
        x, y = item
        checks.require_pair("fold_rows", x, y)
        if x.shape[0] == 0:
            continue
        if size is None:
            size, widths = x.shape[0], (x.shape[1], y.shape[1])
        checks.require_width("fold_rows", "x", x.shape[1], widths[0])
        checks.require_width("fold_rows", "y", y.shape[1], widths[1])
        for start in range(0, x.shape[0], size):
            rows = min(size, x.shape[0] - start)
            weights = (np.arange(size) < rows).astype(np.float32)
            x_block, y_block = (_block(z, start, size) for z in (x, y))
            yield x_block, y_block, jnp.asarray(weights)


@wide
def _block(z: Any, start: int, size: int) -> Array:
    """`size` rows of z from `start` on, on the device; rows beyond the end are zero.

    Host memory is copied first: steps and transfers run asynchronously, and the caller
    may fill the same buffer again.
    """
    z = z[start : start + size]
    missing = size - z.shape[0]
    kind = np if isinstance(z, np.ndarray) else jnp
    z = kind.pad(z, ((0, missing), (0, 0))) if missing else z
    return jnp.asarray(np.array(z) if kind is np and not missing else z)


@takes(batches=kinds.STREAM)
def accumulate(
    batches: Iterable[tuple[Any, Any]], *, dtype: Any = None, product_dtype: Any = None
) -> Moments:
    """Moments of a stream of paired row batches, in one pass.

    All rows are shifted by the first batch's mean, exactly, before anything else and
    the means shifted back at the end; so float32 accumulators too see only numbers of
    the size of the deviations.

    Args:
      batches: pairs of [B, dx] source and [B, dy] target states, float; numpy (memory
        maps too) or JAX arrays. Every block is padded or cut to the first batch's B:
        2,048 to 16,384 rows keep the products near the machine's peak.
      dtype: of the record, see `from_batch`.
      product_dtype: of the matrix products, see `from_batch`.

    Returns:
      Moments of all rows.

    Raises:
      ValueError: no rows, different rows or widths, or NaN or infinity, with the row.
    """
    setting = (_name(dtype), _name(product_dtype))
    start = functools.partial(_start, dtype=dtype)
    state = fold_rows(_update(*setting), start, batches)
    return translate(state.moments, state.shift_x, state.shift_y)


class _Shifted(NamedTuple):
    shift_x: Array
    shift_y: Array
    moments: Moments


def _name(dtype: Any) -> str | None:
    return None if dtype is None else jnp.dtype(dtype).name


def _start(x: Array, y: Array, *, dtype: Any) -> _Shifted:
    nothing = empty(x.shape[1], y.shape[1], dtype=dtype)
    finite = (jnp.nan_to_num(z.mean(0).astype(nothing.mean_x.dtype)) for z in (x, y))
    return _Shifted(*finite, nothing)


@functools.cache
def _update(dtype: str | None, product_dtype: str | None) -> Callable:
    def update(state: _Shifted, x: Array, y: Array, weights: Array) -> _Shifted:
        kind = state.shift_x.dtype
        x = jnp.where(weights[:, None] > 0, x.astype(kind) - state.shift_x, 0)
        y = jnp.where(weights[:, None] > 0, y.astype(kind) - state.shift_y, 0)
        batch = from_batch(
            x, y, weights=weights, dtype=dtype, product_dtype=product_dtype
        )
        return state._replace(moments=merge(state.moments, batch))

    return update
