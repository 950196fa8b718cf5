"""Guards for the input of public functions: what was expected, what came, what to do.

Shapes and dtypes are known while tracing, so they are always checked; values only
where they are concrete, so that every guarded function stays jit-able.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax.arguments import array_remedy, described, require_array


def is_concrete(*trees: Any) -> bool:
    """Whether no leaf is a tracer, so that values can be looked at."""
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


def require_shape(who: str, name: str, array: Any, shape: tuple[int, ...]) -> None:
    """Raise unless an array has exactly this shape, so that nothing is broadcast."""
    if np.shape(array) != shape:
        raise ValueError(
            f"{who}: {name} needs shape {list(shape)}, got {list(np.shape(array))}."
        )


def numbers(who: str, name: str, values: Any, *, rank: int | None = None) -> Any:
    """Real numbers in a float dtype in which they can be summed.

    Half precision becomes float32, bool and integers float64 (numpy) or the widest
    float of the moment (traced); float32 and float64 stay as they are.

    Args:
      who, name: for errors.
      values: [...] bool, int or float; lists and pandas series too.
      rank: number of axes that are wanted; None takes any.

    Returns:
      [...] numpy, or JAX where it was.

    Raises:
      TypeError: not real numbers.
      ValueError: of another rank.
    """
    array = values if isinstance(values, jax.Array) else _plain(who, name, values)
    if jnp.issubdtype(array.dtype, jnp.floating):
        wide = jnp.promote_types(array.dtype, jnp.float32)
    elif _is_whole(array.dtype):
        traced = isinstance(array, jax.Array)
        wide = jnp.result_type(float) if traced else np.dtype(np.float64)
    else:
        raise TypeError(f"{who}: {_needs(name)} real numbers, got {_dtype_of(array)}.")
    if rank is not None and array.ndim != rank:
        raise ValueError(
            f"{who}: {_needs(name)} {_AXES[rank]}, got shape {list(array.shape)}."
        )
    return array if array.dtype == wide else array.astype(wide)


def _needs(name: str) -> str:
    return f"{name} need{'' if name.endswith('s') else 's'}"


_AXES = {0: "one number", 1: "one number for each row", 2: "shape [rows, columns]"}


def _plain(who: str, name: str, values: Any) -> np.ndarray:
    """What is no JAX array as a plain numpy one."""
    if isinstance(values, np.ma.MaskedArray) or "sparse" in type(values).__module__:
        require_array(who, name, values)
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as wrong:
        raise TypeError(
            f"{who}: {name} needs an array of numbers, got {described(values)}: "
            f"{array_remedy(name, values) or wrong}."
        ) from wrong


def _is_whole(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.integer) or jnp.issubdtype(dtype, jnp.bool_)


def _dtype_of(array: Any) -> str:
    if getattr(array.dtype, "kind", "") in "OUST" and array.size:
        first = array.reshape(-1)[0]
        return f"{array.dtype} such as {described(first)}"
    return str(array.dtype)


def whole_numbers(
    who: str,
    name: str,
    values: Any,
    *,
    rows: int | None = None,
    below: int | None = None,
    remedy: str = "",
) -> Any:
    """Labels, predicted classes or indices, wide enough to count with.

    Args:
      who, name: for errors.
      values: [N] bool or any integer; lists and pandas series too.
      rows: N, if it is known.
      below: all must be smaller, if there is a bound.
      remedy: said where one is out of range.

    Returns:
      [N] int64: numpy, or traced (then int32 where float64 is off).

    Raises:
      TypeError: not integers.
      ValueError: of another shape, negative, or not below the bound.
    """
    need = f"{who}: {_needs(name)}"
    traced = not is_concrete(values)
    array = values if traced else _plain(who, name, values)
    shape = array.shape
    if len(shape) != 1 or (rows is not None and shape[0] != rows):
        wanted = "rows" if rows is None else rows
        raise ValueError(
            f"{need} shape [{wanted}], one for each row, got {list(shape)}."
        )
    if not _is_whole(array.dtype):
        how = "Number the names first: names, labels = np.unique(.., return_inverse=1)."
        if jnp.issubdtype(array.dtype, jnp.floating):
            how = "Convert whole numbers with .astype('int64')."
        raise TypeError(f"{need} an integer dtype, got {_dtype_of(array)}. {how}")
    if traced:
        return array.astype(int)
    if array.size:
        least, most = int(array.min()), int(array.max())
        bound = 2**63 if below is None else below
        if least < 0 or most >= bound:
            got = f"got {least} to {most}"
            if below is None and least < 0:
                raise ValueError(f"{need} numbers from 0 on, {got}. {remedy}".rstrip())
            raise ValueError(f"{need} to lie in [0, {bound}), {got}. {remedy}".rstrip())
    return array.astype(np.int64)


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


def require_labels(
    who: str, labels: Any, classes: int, rows: int, *, kinds: int = 2
) -> Any:
    """Labels of `rows` rows as `whole_numbers` in [0, classes), of `kinds` or more."""
    remedy = "Drop unlabelled rows (-1) before fitting."
    labels = whole_numbers(
        who, "labels", labels, rows=rows, below=classes, remedy=remedy
    )
    if is_concrete(labels) and len(present := np.unique(labels)) < kinds:
        raise ValueError(
            f"{who}: needs rows of at least {kinds} classes, got only "
            f"{present.tolist()}. Use more rows, or another split."
        )
    return labels
