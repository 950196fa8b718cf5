"""Streams of row batches folded into a record: one compiled step, one block in memory.

Every block has the shape of the first batch: a shorter one is padded with rows of
weight zero, a longer one is cut, so that nothing recompiles. The record is donated to
each step. At most two blocks wait on the device, so memory does not grow with the
number of rows however fast they arrive.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from helix_jax import checks, kinds
from helix_jax.alignment.limbs import LIMBS_OF
from helix_jax.alignment.moments import (
    Moments,
    all_merge,
    empty,
    from_batch,
    merge,
    translate,
)
from helix_jax.arguments import described, takes
from helix_jax.devices import ROWS, RowDevices
from helix_jax.linalg import wide
from helix_jax.types import Array

_S = TypeVar("_S")


class _Progress(NamedTuple):
    """Rows folded so far, and the first non-finite row (-1: none)."""

    rows: Array
    bad_x: Array
    bad_y: Array


@takes(batches=kinds.STREAM)
def fold_rows(
    update: Callable[[_S, Array, Array, Array], _S],
    state: _S | Callable[[Array, Array], _S],
    batches: Iterable[tuple[Any, Any]],
    *,
    devices: RowDevices | None = None,
) -> _S:
    """Fold paired row batches into a record with one compiled, donated step.

    Args:
      update: pure function (state, x [B, dx], y [B, dy], weights [B]) -> state, of
        module level so that its compilation is reused. Weight zero marks padding.
      state: the record to start from, or a function of the first batch that makes it.
        Its arrays are donated.
      batches: pairs of [B, dx] and [B, dy] float arrays, B may vary.
      devices: devices that share every block; each keeps its own record.

    Returns:
      The record after all rows; with `devices` all of them, along a first axis.

    Raises:
      ValueError: no batch came, shapes differ, or a row holds NaN or infinity.
    """
    record: Any = state  # or the function that makes it, until the first batch
    progress = None
    waiting: list[Array] = []
    for x, y, weights in _blocks(batches, 1 if devices is None else len(devices)):
        if progress is None:
            record, progress = _begin(record, x, y, devices)
        if devices is not None:
            x, y, weights = _dealt(devices, (x, y, weights))
        step = _step(update, devices)
        record, progress, tick = step(record, progress, x, y, weights)
        waiting.append(tick)
        if len(waiting) > 2:
            waiting.pop(0).block_until_ready()
    if progress is None:
        raise ValueError(
            "fold_rows: needs at least one batch of rows, got none. "
            "Check that the store, or the split, is not empty."
        )
    if devices is not None:
        progress = _gathered(devices, progress)
    for name, bad in (("x", progress.bad_x), ("y", progress.bad_y)):
        rows = np.asarray(bad)
        if rows.max() >= 0:
            of = "the stream" if devices is None else "one device's rows"
            raise ValueError(
                f"fold_rows: {name} holds NaN or infinity, first in row "
                f"{rows[rows >= 0].min()} of {of}. Extract these states again, in a "
                "wider dtype if they overflowed."
            )
    return record


@wide
def _begin(
    state: Any, x: Array, y: Array, devices: RowDevices | None
) -> tuple[Any, _Progress]:
    """The starting record, in separate arrays, with no rows counted yet."""
    state = state(x, y) if callable(state) else state
    state = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), state)
    begun = state, _Progress(*(jnp.full((), n, int) for n in (0, -1, -1)))
    if devices is None:
        return begun
    one_each = jax.tree.map(lambda leaf: jnp.stack([leaf] * len(devices)), begun)
    return devices.place_rows(one_each)


@wide
def _dealt(devices: RowDevices, block: Any) -> Any:
    return devices.place_rows(block)


@wide
def _gathered(devices: RowDevices, record: Any) -> Any:
    return devices.gather(record)


@functools.cache
def _step(update: Callable, devices: RowDevices | None) -> Callable:
    def step(
        state: Any, progress: _Progress, x: Array, y: Array, weights: Array
    ) -> tuple[Any, _Progress, Array]:
        state = update(state, x, y, weights)
        rows = jnp.sum(weights > 0)
        progress = _Progress(
            progress.rows + rows,
            _first_bad(progress.bad_x, progress.rows, x),
            _first_bad(progress.bad_y, progress.rows, y),
        )
        return state, progress, progress.rows + 0

    def own_step(
        state: Any, progress: _Progress, *block: Array
    ) -> tuple[Any, _Progress, Array]:
        state, progress = jax.tree.map(lambda leaf: leaf[0], (state, progress))
        return jax.tree.map(lambda leaf: leaf[None], step(state, progress, *block))

    if devices is not None:  # devices do not communicate
        parts = {"in_specs": PartitionSpec(ROWS), "out_specs": PartitionSpec(ROWS)}
        own_step = jax.shard_map(own_step, mesh=devices.mesh, **parts)
    chosen = step if devices is None else own_step
    return wide(jax.jit(chosen, donate_argnums=(0, 1)))


def _first_bad(known: Array, start: Array, x: Array) -> Array:
    bad = ~jnp.all(jnp.isfinite(x), axis=1)
    here = jnp.where(jnp.any(bad), start + jnp.argmax(bad), -1)
    return jnp.where(known >= 0, known, here)


def _blocks(
    batches: Iterable[tuple[Any, Any]], multiple: int
) -> Iterator[tuple[Array, Array, Array]]:
    """Batches as device blocks of the first batch's rows, with weights for padding.

    The rows of a block are a multiple of `multiple`.
    """
    size = None
    for number, item in enumerate(batches):
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise TypeError(
                f"fold_rows: batches need pairs (x, y), but item {number} is "
                f"{described(item)}; for two arrays, pass [(x, y)]."
            )
        x, y = item
        checks.require_pair("fold_rows", x, y)
        if x.shape[0] == 0:
            continue
        if size is None:
            size, widths = x.shape[0], (x.shape[1], y.shape[1])
            size = -(-size // multiple) * multiple
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
    batches: Iterable[tuple[Any, Any]],
    *,
    dtype: Any = None,
    product_dtype: Any = None,
    devices: Sequence[jax.Device] | None = None,
) -> Moments:
    """Moments of a stream of paired row batches, in one pass.

    All rows are first shifted by the first batch's mean, exactly, and the means are
    shifted back at the end; so even float32 accumulators only see numbers of the size
    of the deviations.

    Args:
      batches: pairs of [B, dx] source and [B, dy] target states, float; numpy
        (including memory maps) or JAX arrays. Every block is padded or cut to the first
        batch's B:
        2,048 to 16,384 rows keep the products near the machine's peak.
      dtype: of the record, see `from_batch`.
      product_dtype: of the matrix products, see `from_batch`.
      devices: devices that share every block. Each sums its own rows, and one
        collective at the end merges their records; None for the default device alone.

    Returns:
      Moments of all rows.

    Raises:
      ValueError: no rows, different rows or widths, or NaN or infinity, with the row.
    """
    setting = (_name(dtype), _name(product_dtype))
    start = functools.partial(_start, dtype=dtype)
    shared = None if devices is None else row_devices(tuple(devices))
    state = fold_rows(_update(*setting), start, batches, devices=shared)
    if shared is not None:
        state = _gathered(shared, _merged(shared)(state))
    return translate(state.moments, state.shift_x, state.shift_y)


row_devices = functools.cache(RowDevices)  # one per set: it caches compiled steps


@functools.cache
def _merged(devices: RowDevices) -> Callable[["_Shifted"], "_Shifted"]:
    """Merge the records of all devices on each of them: the only collective."""

    def merge_own(state: _Shifted) -> _Shifted:
        state = jax.tree.map(lambda leaf: leaf[0], state)
        x, y = (jax.lax.pmean(z, ROWS) for z in (state.shift_x, state.shift_y))
        return _Shifted(x, y, all_merge(state.moments, ROWS))

    parts = {"in_specs": PartitionSpec(ROWS), "out_specs": PartitionSpec()}
    return wide(jax.jit(jax.shard_map(merge_own, mesh=devices.mesh, **parts)))


class _Shifted(NamedTuple):
    shift_x: Array
    shift_y: Array
    moments: Moments


def _name(dtype: Any) -> str | None:
    return dtype if dtype is None or dtype in LIMBS_OF else jnp.dtype(dtype).name


def _start(x: Array, y: Array, *, dtype: Any) -> _Shifted:
    nothing = empty(x.shape[1], y.shape[1], dtype=dtype)
    x, y = (jnp.nan_to_num(z.mean(0).astype(nothing.mean_x.dtype)) for z in (x, y))
    return _Shifted(x, y, nothing)


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
