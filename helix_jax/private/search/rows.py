"""Checks of an index's input: vectors, ids and texts."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from helix_jax.private.packing import MAX_WIDTH
from helix_jax.private.search.limits import MAX_ID_BYTES, MAX_ROWS, MAX_TEXT_BYTES
from helix_jax.private.search.records import record_bytes

_BLOCK = 8192


def read_vectors(vectors: np.ndarray) -> tuple[int, int]:
    """The numbers of rows and columns of vectors [N, d], checked in blocks.

    Raises:
      TypeError: they are not floats.
      ValueError: the shape or a size is not allowed, or a row has no direction.
    """
    if not hasattr(vectors, "shape") or len(vectors.shape) != 2:
        shape = list(getattr(vectors, "shape", []))
        raise ValueError(f"save_index: vectors need shape [N, d], got {shape}.")
    if vectors.dtype.kind != "f" and vectors.dtype.name != "bfloat16":
        raise TypeError(f"save_index: vectors need floats, got {vectors.dtype}.")
    count, width = vectors.shape
    for name, value, most in (("rows", count, MAX_ROWS), ("width", width, MAX_WIDTH)):
        if not 1 <= value <= most:
            raise ValueError(
                f"save_index: {name} must be from 1 to {most}, got {value}."
            )
    for start in range(0, count, _BLOCK):
        rows = np.asarray(vectors[start : start + _BLOCK], np.float64)
        norms = np.linalg.norm(rows, axis=1)
        wrong = np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))
        if len(wrong):
            raise ValueError(
                f"save_index: row {start + wrong[0]} has norm {norms[wrong[0]]}, and a "
                "cosine needs a direction; leave such rows out."
            )
    return count, width


def read_documents(
    ids: Sequence[str] | None, texts: Sequence[str] | None, count: int
) -> tuple[list[bytes], list[bytes], int]:
    """Ids and texts of N rows in UTF-8, and the size of a record that can hold any.

    Raises:
      TypeError: they are not strings.
      ValueError: there is not one per row, an id occurs twice, or one is too long.
    """
    own_ids = [str(i) for i in range(count)] if ids is None else list(ids)
    own_texts = [""] * count if texts is None else list(texts)
    for name, values in (("ids", own_ids), ("texts", own_texts)):
        if len(values) != count:
            raise ValueError(
                f"save_index: expected {count} {name}, one per row, got {len(values)}."
            )
    encoded_ids = _encode("id", own_ids, MAX_ID_BYTES, "shorten it")
    encoded = _encode("text", own_texts, MAX_TEXT_BYTES, "cut it, or index its parts")
    twice = [one for one, times in Counter(encoded_ids).items() if times > 1]
    if twice:
        raise ValueError(f"save_index: the id {twice[0].decode()!r} occurs twice.")
    return encoded_ids, encoded, record_bytes(encoded_ids, encoded)


def _encode(name: str, values: list[str], most: int, remedy: str) -> list[bytes]:
    found = []
    for row, value in enumerate(values):
        if not isinstance(value, str):
            raise TypeError(
                f"save_index: the {name} of row {row} needs a string, got "
                f"{type(value).__name__}."
            )
        try:
            found.append(value.encode())
        except UnicodeEncodeError as wrong:
            raise ValueError(
                f"save_index: the {name} of row {row} is not UTF-8 ({wrong.reason})."
            ) from wrong
        if len(found[-1]) > most:
            raise ValueError(
                f"save_index: the {name} of row {row} has {len(found[-1])} bytes, at "
                f"most {most} can be read at once; {remedy}."
            )
    return found
