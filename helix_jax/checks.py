"""Input checks of public functions: what was expected, what was given, what to do.

Shapes and dtypes are known while tracing, so they are always checked; values only
where they are concrete, so that every guarded function stays jit-able.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax.arguments import require_array


def is_concrete(*trees: Any) -> bool:
    """Whether no leaf is a tracer, so that values can be checked."""
    leaves = jax.tree.leaves(trees)
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in leaves)


def require_matrix(who: str, name: str, array: Any) -> None:
    """Raise unless `array` is a two-dimensional floating-point array."""
    require_array(who, name, array)
    shape, dtype = array.shape, array.dtype
    if len(shape) != 2:
        raise ValueError(
            f"{who}: {name} needs shape [rows, width], got {list(shape)}. "
            "Flatten or pool the leading axes first."
        )
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(
            f"{who}: {name} needs a floating-point array, got {dtype}. "
            "Convert it with .astype('float32')."
        )


def require_pair(who: str, x: Any, y: Any) -> None:
    """Raise unless x [N, dx] and y [N, dy] are matrices with the same rows."""
    require_matrix(who, "x", x)
    require_matrix(who, "y", y)
    if x.shape[0] != y.shape[0]:
        turned = x.shape[1] == y.shape[1]
        raise ValueError(
            f"{who}: x and y need the same rows, got {x.shape[0]} and {y.shape[0]}. "
            + (
                f"Both are {x.shape[1]} wide: if rows stand in columns, give x.T, y.T."
                if turned
                else "Join the two stores by text id first."
            )
        )


def require_width(
    who: str,
    name: str,
    got: int,
    expected: int,
    *,
    shape: tuple[int, ...] = (),
    target: int | None = None,
) -> None:
    """Raise unless a width is the expected one.

    Args:
      who, name: for errors.
      got, expected: widths.
      shape: of the array, to detect rows that stand in columns.
      target: width of the other side of a map, to detect states of that side.
    """
    if got == expected:
        return
    remedy = "Use the map, probe or moments that were made for these states."
    if len(shape) == 2 and shape[0] == expected:
        remedy = f"Rows are samples: its transpose has this width, {name}.T."
    elif got == target:
        remedy = f"{target} is the width of the target; {name} are source states."
    raise ValueError(f"{who}: {name} needs width {expected}, got {got}. {remedy}")


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


def require_shape(who: str, name: str, array: Any, shape: tuple[int, ...]) -> None:
    """Raise unless an array has exactly this shape, so that nothing is broadcast."""
    if np.shape(array) != shape:
        raise ValueError(
            f"{who}: {name} needs shape {list(shape)}, got {list(np.shape(array))}."
        )


def same_rows(who: str, **values: Any) -> int:
    """The number of rows that all arrays have, at least one.

    Raises:
      ValueError: they differ, or there are none.
    """
    rows = {name: (np.shape(value) or (1,))[0] for name, value in values.items()}
    if len(set(rows.values())) > 1:
        raise ValueError(
            f"{who}: {' and '.join(rows)} need the same rows, got "
            f"{' and '.join(map(str, rows.values()))}."
        )
    count = next(iter(rows.values()))
    require_rows(who, count, 1, "a mean needs one")
    return count


def require_not_nan(who: str, name: str, array: Any) -> None:
    """Raise if a concrete array holds NaN, naming the first such row."""
    if is_concrete(array):
        bad = np.isnan(np.asarray(array))
        if bad.any():
            row = int(np.argwhere(np.atleast_1d(bad))[0][0])
            raise ValueError(f"{who}: {name} holds NaN, first in row {row}.")
