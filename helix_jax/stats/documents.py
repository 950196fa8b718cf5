"""The documents of rows, numbered; names that differ keep different numbers."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from helix_jax.types import Array


def document_codes(
    who: str, documents: Sequence[Any] | Array, rows: int, *, of: str = "rows"
) -> tuple[np.ndarray, int]:
    """Numbers of documents, in their order where they have one.

    Args:
      who: the caller, for errors.
      documents: [N] strings or whole numbers, such as `document_of(id)`.
      rows: N.
      of: what the rows are called in errors.

    Returns:
      [N] int64 in [0, G), and G.

    Raises:
      ValueError: not one document for each row, or one that is a fraction or NaN.
    """
    # A list is not made an array first: numpy would take 1 and "1" for the same, and
    # drop zero bytes at the end of a name.
    array = isinstance(documents, np.ndarray) or not isinstance(documents, Sequence)
    values: Any = np.asarray(documents) if array else documents
    shape = list(np.shape(values)) if array else [len(values)]
    if shape != [rows]:
        raise ValueError(
            f"{who}: needs the document of each of {rows} {of}, got {shape}."
        )
    if array and values.dtype != object:
        names, codes = np.unique(values, return_inverse=True)
        _require_names(who, names)
        return codes.astype(np.int64), len(names)
    different = set(values)
    _require_names(who, different)
    try:
        order = sorted(different)
    except TypeError:  # of several types
        order = sorted(different, key=lambda name: (type(name).__name__, str(name)))
    places = {name: place for place, name in enumerate(order)}
    codes = np.fromiter((places[name] for name in values), np.int64, rows)
    return codes, len(order)


def _require_names(who: str, names: Iterable[Any]) -> None:
    """Raise ValueError for numbers with fractions, which are values, not names."""
    for name in names:
        if isinstance(name, (float, np.floating)) and not float(name).is_integer():
            shown = "NaN" if math.isnan(name) else f"{name:g}"
            raise ValueError(
                f"{who}: a document is {shown}, which is not a name; needs strings or "
                "whole numbers, such as document_of(id)."
            )
