"""Numbers as arguments: widened before they are counted, multiplied or summed.

An array of uint8 labels times 77 classes wraps, as does one plus another; float16
overflows above 65,504. This file returns numbers in a dtype that is wide enough, with
rank, sign and range checked; values are checked if they are concrete.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax.arguments import array_remedy, described, native, require_array
from helix_jax.checks import is_concrete


def numbers(who: str, name: str, values: Any, *, rank: int | None = None) -> Any:
    """Real numbers in a float dtype in which they can be summed.

    Half precision becomes float32, bool and integers float64 (numpy) or the widest
    float that is enabled (JAX); float32 and float64 stay as they are.

    Args:
      who, name: for errors.
      values: [...] bool, int or float; lists and pandas series too.
      rank: expected number of axes; None accepts any.

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
    """Anything but a JAX array as a plain numpy one."""
    if isinstance(values, np.ma.MaskedArray) or "sparse" in type(values).__module__:
        require_array(who, name, values)
    if hasattr(values, "_fields"):  # a record of several arrays
        require_array(who, name, values)
    try:
        return native(np.asarray(values))
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
    """Labels, predicted classes or indices, in a dtype wide enough to count with.

    Args:
      who, name: for errors.
      values: [N] bool or any integer; lists and pandas series too.
      rows: N, if it is known.
      below: all must be smaller, if there is a bound.
      remedy: said if one is out of range.

    Returns:
      [N] int64: numpy, or traced (then int32 where 64-bit types are off).

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
        how = ""
        if len(shape) == 2:
            how = f" Use {name}" + (".argmax(axis=1)." if shape[1] > 1 else "[:, 0].")
        raise ValueError(
            f"{need} shape [{wanted}], one for each row, got {list(shape)}.{how}"
        )
    if not _is_whole(array.dtype):
        how = "Number the names first: names, labels = np.unique(.., return_inverse=1)."
        if jnp.issubdtype(array.dtype, jnp.floating):  # NaN for "none" too
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


def class_logits(who: str, logits: Any) -> Any:
    """Logits [..., C] as `numbers`; one whole number per row is taken for labels.

    Raises:
      TypeError: not numbers.
      ValueError: without an axis of classes, or labels.
    """
    found = numbers(who, "logits", logits)
    narrow = found.ndim < 2 and not jnp.issubdtype(
        getattr(logits, "dtype", float), jnp.floating
    )
    if not found.ndim or narrow:
        raise ValueError(
            f"{who}: logits need shape [..., classes], got {list(found.shape)} of "
            f"{getattr(logits, 'dtype', 'numbers')}; these look like labels. Use "
            "predict_logits(probe, x)."
        )
    return found


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
