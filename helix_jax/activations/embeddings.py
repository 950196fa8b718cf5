"""Embeddings made elsewhere, such as by a hosted API, as a store.

FILE.npy          array [N, D]; ids in FILE.ids.txt or --ids, one per line
FILE.npz          arrays "embeddings" [N, D], "ids" [N] and, if any, "labels" [N]
FILE.safetensors  tensor "embeddings" (or the only matrix) and, if any, "labels";
                  ids as for npy, or as a JSON list in the metadata key "ids"
FILE.parquet      columns "id", "embedding" (lists of equal length) and, if any,
                  "label"

Ids are strings, kept unchanged, or integers. Labels are class numbers 0..2^31 - 1; -1
and null mean none.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from helix_jax import kinds
from helix_jax.activations.embedding_files import read_content
from helix_jax.activations.join import first_repeated
from helix_jax.activations.store import Store
from helix_jax.arguments import takes
from helix_jax.errors import CorpusError, PathError, StoreError
from helix_jax.paths import local_path, os_errors
from helix_jax.textfile import read_entries
from helix_jax.types import Text

SCAN_ROWS = 65536


@takes(file=kinds.PATH, ids=kinds.PATH)
def load_embeddings(
    file: str | os.PathLike, *, ids: str | os.PathLike | None = None
) -> Store:
    """Open a file of embeddings as a store.

    Args:
      file: .npy, .npz, .safetensors or .parquet, in the layout described above.
      ids: text file with one id per line, for formats that hold none; by default
        FILE.ids.txt next to the file ("vectors.ids.txt" for "vectors.npy").

    Returns:
      A store of one layer, numbered 0; its fingerprint is the SHA-256 of the file and
      of the ids. npy is read from disk as needed, the others are held in memory.

    Raises:
      StoreError: the file is missing, damaged, ragged or of an unknown format; rows are
        not numbers, not finite or beyond float32; ids are missing, repeated or not as
        many as rows; labels are not class numbers.
    """
    try:
        path = local_path(file, "a file of embeddings")
        beside = None if ids is None else local_path(ids, "a list of ids")
    except PathError as error:
        raise StoreError(str(error)) from error
    content = read_content(path)
    rows = _check_matrix(path, content.rows)
    own_ids = _find_ids(path, beside, content.ids, len(rows))
    labels = np.full(len(rows), -1, np.int32)
    if content.labels is not None:
        labels = _check_labels(path, content.labels, len(rows))

    def reader(layer: int, chosen: slice | np.ndarray) -> np.ndarray:
        return rows[chosen]

    joined = "\n".join(own_ids)
    if joined.count("\n") >= len(own_ids):  # an id contains a line break
        joined = f"\n{json.dumps(own_ids)}"
    return Store(
        name=str(path),
        layers=(0,),
        width=rows.shape[1],
        fingerprint={
            "embeddings": path.name,
            "sha256": _file_digest(path),
            "ids": hashlib.sha256(joined.encode()).hexdigest()[:16],
        },
        counts={"texts": len(rows), "rows": len(rows)},
        text_ids=own_ids,
        text_labels=labels,
        reader=reader,
    )


def select_texts(store: Store, texts: Sequence[Text], *, of: str) -> Store:
    """The rows of some texts, in their order, found by id, with the texts' labels.

    Args:
      store: of embeddings made elsewhere.
      texts: N texts.
      of: name of their corpus, for the message.

    Returns:
      Store of N rows.

    Raises:
      CorpusError: the store lacks some ids; says how many, and the first.
    """
    places = {text_id: row for row, text_id in enumerate(store.ids)}
    missing = [text.id for text in texts if text.id not in places]
    if missing:
        raise CorpusError(
            f"{store.name} lacks {len(missing)} of {len(texts)} texts of {of}, first "
            f"{missing[0]!r}; it begins with {store.ids[0]!r}. Embed every text of the "
            "corpus under its id (--id_column names the ids)."
        )
    view = store.select(np.array([places[text.id] for text in texts], np.int64))
    labels = store.text_labels.copy()
    for text in texts:
        labels[places[text.id]] = -1 if text.label is None else text.label
    return dataclasses.replace(view, text_labels=labels)


def _check_matrix(path: Path, rows: Any) -> Any:
    number = rows.dtype == ml_dtypes.bfloat16 or rows.dtype.kind in "fiu"
    if rows.ndim != 2 or not number or 0 in rows.shape:
        raise StoreError(
            f"{path}: embeddings must be [N, D] numbers with N, D >= 1, got "
            f"{rows.dtype}{list(rows.shape)}."
        )
    for start in range(0, len(rows), SCAN_ROWS):
        part = np.asarray(rows[start : start + SCAN_ROWS])
        bad = np.flatnonzero(~np.isfinite(part).all(axis=1))
        if len(bad):
            raise StoreError(
                f"{path}: row {start + bad[0]} (counting from 0) holds NaN or "
                "infinite numbers. Ask for that embedding again."
            )
        with np.errstate(over="ignore"):
            held = part.astype(np.float32)
        lost = ~np.isfinite(held).all(axis=1) | (part.any(axis=1) & ~held.any(axis=1))
        if lost.any():
            raise StoreError(
                f"{path}: row {start + np.argmax(lost)} (counting from 0) holds "
                f"{part.dtype} numbers that float32 cannot (1e-45 to 3e38). Scale all "
                "embeddings alike."
            )
    return rows


def _find_ids(
    path: Path, given: Path | None, inside: list[str] | None, count: int
) -> list[str]:
    beside = given if given is not None else path.with_suffix(".ids.txt")
    if given is None and inside is not None:
        source, ids = str(path), list(inside)
    elif os.path.exists(beside):
        source = str(beside)
        ids = read_entries(beside, raises=StoreError)
        if inside is not None and ids != inside:
            raise StoreError(
                f"{source} and {path} hold different ids; leave {source} out, or write "
                "the embeddings without ids."
            )
    else:
        raise StoreError(
            f"{path} comes without ids: expected one id a line in {beside}. Rows can "
            "only be paired with other models by the ids of their texts."
        )
    if len(ids) != count:
        raise StoreError(
            f"{path} has {count} rows and {source} has {len(ids)} ids; expected one id "
            "for each row, in the same order."
        )
    if "" in ids:
        raise StoreError(f"{source}: the id of row {ids.index('')} is empty.")
    repeated = first_repeated(ids)
    if repeated is not None:
        raise StoreError(f"{source} holds the id {repeated!r} more than once.")
    return ids


def _check_labels(path: Path, labels: Any, count: int) -> np.ndarray:
    if isinstance(labels, np.ndarray):
        if labels.shape != (count,) or labels.dtype.kind not in "iu":
            raise StoreError(
                f"{path}: labels must be {count} class numbers, got "
                f"{labels.dtype}{list(labels.shape)}."
            )
        labels = labels.tolist()
    labels = [-1 if own is None else own for own in labels]
    for row, own in enumerate(labels):
        if not -1 <= own < 2**31:
            raise StoreError(
                f"{path}: the label of row {row} (counting from 0) is {own}; class "
                "numbers are 0 to 2147483647, and -1 for none."
            )
    return np.array(labels, np.int32)


def _file_digest(path: Path) -> str:
    with os_errors(path, "be read", StoreError), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
