"""Guards for the input of public functions: what was expected, what came, what to do.

Shapes and dtypes are known while tracing, so they are always checked; values only
where they are concrete, so that every guarded function stays jit-able.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def is_concrete(*trees: Any) -> bool:
    """Whether no leaf is a tracer, so that values can be looked at."""
    leaves = jax.tree.leaves(trees)
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in leaves)


def require_matrix(who: str, name: str, array: Any) -> None:
    """Raise unless `array` is a two-dimensional floating-point array."""
    shape, dtype = np.shape(array), getattr(array, "dtype", None)
    if len(shape) != 2:
        raise ValueError(
            f"{who}: {name} needs shape [rows, width], got {list(shape)}. "
            "Flatten or pool the leading axes first."
        )
    if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(
            f"{who}: {name} needs a floating-point array, got "
            f"{type(array).__name__ if dtype is None else dtype}. "
            "Convert it with .astype('float32')."
        )


def require_pair(who: str, x: Any, y: Any) -> None:
    """Raise unless x [N, dx] and y [N, dy] are matrices with the same rows."""
    require_matrix(who, "x", x)
    require_matrix(who, "y", y)
    if x.shape[0] != y.shape[0]:
        raise ValueError(
            f"{who}: x and y need the same rows, got {x.shape[0]} and {y.shape[0]}. "
            "Join the two stores by text id first."
        )


def require_width(who: str, name: str, got: int, expected: int) -> None:
    """Raise unless a width is the expected one."""
    if got != expected:
        raise ValueError(
            f"{who}: {name} needs width {expected}, got {got}. "
            "Use the map, probe or moments that were made for these states."
        )


def require_finite(who: str, name: str, array: Any) -> None:
    """Raise if a concrete array holds NaN or infinity, naming the first such row."""
    if not is_concrete(array):
        return
    values = np.asarray(array)
    finite = np.isfinite(values.astype(np.float32) if values.itemsize < 4 else values)
    if not finite.all():
        row = int(np.argwhere(~np.atleast_1d(finite))[0][0])
        raise ValueError(
            f"{who}: {name} holds NaN or infinity, first in row {row} "
            f"({int((~finite).sum())} values in all). "
            "Extract these states again, in a wider dtype if they overflowed."
        )


def require_rows(who: str, rows: Any, minimum: int, why: str) -> None:
    """Raise unless a concrete number of rows is at least `minimum`."""
    if is_concrete(rows) and float(rows) < minimum:
        raise ValueError(
            f"{who}: needs at least {minimum} rows ({why}), got {float(rows):g}."
        )


def require_labels(
    who: str, labels: Any, classes: int, rows: int, *, kinds: int = 2
) -> None:
    """Raise unless labels are `rows` integers in [0, classes), of `kinds` or more."""
    shape, dtype = np.shape(labels), getattr(labels, "dtype", None)
    if shape != (rows,):
        raise ValueError(
            f"{who}: labels need shape [{rows}], one for each row, got {list(shape)}."
        )
    if dtype is None or not jnp.issubdtype(dtype, jnp.integer):
        raise TypeError(f"{who}: labels need an integer dtype, got {dtype}.")
    if not is_concrete(labels):
        return
    present = np.unique(np.asarray(labels))
    if present.size and (present[0] < 0 or present[-1] >= classes):
        raise ValueError(
            f"{who}: labels need to lie in [0, {classes}), got {present[0]} to "
            f"{present[-1]}. Drop unlabelled rows (-1) before fitting."
        )
    if present.size < kinds:
        raise ValueError(
            f"{who}: needs rows of at least {kinds} classes, got only "
            f"{present.tolist()}. Use more rows, or another split."
        )
