"""Writing a store window by window, so that a killed run can resume.

    metadata.json            what made it, the layout, and once complete what it holds
    texts/00000000.json      ids, labels and token counts of the first window of texts
    layers/12/               zarr3 array [N, D], one for each layer
    ends/                    zarr3 array [N], token-level stores only

A window's arrays are written first and its texts last, in one atomic write: a window
without texts does not exist. So windows may come in any order and from several
processes, and every complete one is kept. No file holds a time, a host or a path, so
that interrupted runs, uninterrupted runs, and runs of any number of processes leave the
same bytes.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from helix_jax.activations.storage import open_array
from helix_jax.activations.window_texts import (
    Counts,
    read_counts,
    sum_counts,
    texts_key,
)
from helix_jax.errors import StoreError
from helix_jax.fingerprint import check_same
from helix_jax.locks import Lock
from helix_jax.storage import Folder, read_json, settle, write_json
from helix_jax.storage_errors import STORAGE_ERRORS, write_error

FORMAT = 1
METADATA = "metadata.json"
DTYPES = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}


class Window(NamedTuple):
    """One window of finished rows.

    Attributes:
      number: of the window, from 0.
      first_row: its first row in the store.
      ids, labels: of its texts; a label is an int or None.
      lengths: [texts] int, tokens of each text.
      states: layer -> [rows, D] in the store's dtype.
      ends: [rows] int32 for a token-level store, otherwise None.
      counts: of this window.
    """

    number: int
    first_row: int
    ids: list[str]
    labels: list[int | None]
    lengths: np.ndarray
    states: Mapping[int, np.ndarray]
    ends: np.ndarray | None
    counts: Counts


class StoreWriter:
    """Writes windows to a new or unfinished store.

    Attributes:
      folder: of the store.
      layout: recorded settings that the bits of the states depend on.
      complete: whether nothing is left to write.
    """

    def __init__(
        self, folder: Folder, metadata: dict[str, Any], lock: Lock | None = None
    ):
        self.folder = folder
        self._lock = lock
        self._metadata = metadata
        self._arrays: dict[str, Any] = {}

    @property
    def layout(self) -> dict[str, Any]:
        return self._metadata["layout"]

    @property
    def complete(self) -> bool:
        return self._metadata["complete"]

    def append(self, window: Window) -> None:
        """Write one window; it is on disk on return.

        Raises:
          StoreError: it could not be written; no part of it counts.
        """
        start, stop = window.first_row, window.first_row + window.counts.rows
        parts = {f"layers/{layer}": rows for layer, rows in window.states.items()}
        if window.ends is not None:
            parts["ends"] = window.ends
        needed = sum(rows.nbytes for rows in parts.values())
        pending = []
        for key, rows in parts.items():
            pending.append((key, self._grow(key, rows, stop)[start:stop].write(rows)))
        failed = None
        for key, future in pending:  # wait for all: none may continue after an error
            try:
                settle(self.folder, future, needed)
            except STORAGE_ERRORS as error:
                failed = failed or (key, error)
        if failed:
            raise write_error(self.folder, failed[0], needed, failed[1]) from failed[1]
        self._check_lock()
        write_json(
            self.folder,
            texts_key(window.number),
            {
                "ids": window.ids,
                "labels": window.labels,
                "lengths": [int(length) for length in window.lengths],
                "counts": window.counts._asdict(),
            },
        )

    def finish(self, windows: int) -> Counts:
        """Mark the store complete; returns its contents.

        Raises:
          StoreError: a window is missing, there are no rows, or the mark could not be
            written.
        """
        found = read_counts(self.folder, range(windows))
        missing = sorted(set(range(windows)) - found.keys())
        if missing:
            raise StoreError(
                f"{self.folder.name}: window {missing[0]} of {windows} is missing or "
                "damaged. Run the same extraction again; it resumes there."
            )
        total = sum_counts(found[number] for number in range(windows))
        if total.rows == 0:
            raise StoreError(
                f"{self.folder.name}: the corpus gave no text at all, so there is no "
                "row to store. Check the corpus, its split and its limit."
            )
        self._check_lock()
        progress = {"windows": windows, **total._asdict()}
        metadata = {**self._metadata, "complete": True, "progress": progress}
        write_json(self.folder, METADATA, metadata, indent=1)
        self._metadata = metadata
        return total

    def _grow(self, key: str, rows: np.ndarray, stop: int) -> Any:
        """The array with at least `stop` rows; another process may have grown it."""
        shape = [stop] if rows.ndim == 1 else [stop, None]
        try:
            if key not in self._arrays:
                self._arrays[key] = open_array(self.folder, key)
            array, tries = self._arrays[key], 3
            while array.shape[0] < stop:
                try:
                    grown = array.resize(exclusive_max=shape, expand_only=True)
                    array = settle(self.folder, grown)
                except ValueError:  # it is longer than this process knew
                    array = settle(self.folder, array.resolve())
                    tries -= 1
                    if array.shape[0] < stop and not tries:
                        raise
        except STORAGE_ERRORS as error:
            if isinstance(error, StoreError):
                raise
            raise write_error(self.folder, key, rows.nbytes, error) from error
        self._arrays[key] = array
        return array

    def _check_lock(self) -> None:
        if self._lock is not None:
            self._lock.check()


def begin_store(
    folder: Folder,
    *,
    fingerprint: Mapping[str, Any],
    new_layout: Callable[[], Mapping[str, Any]],
    requested: Mapping[str, Any],
    arrays: Mapping[str, tuple[str, int | None]],
    lock: Lock | None = None,
) -> StoreWriter:
    """Make a store, or resume the one that exists.

    Args:
      folder: of the store.
      fingerprint: of its inputs; must equal that of an existing store.
      new_layout: returns the settings of a new store; an unfinished one keeps its own.
      requested: the part of the layout that the caller has fixed.
      arrays: key -> dtype and width of its rows; missing arrays are made.
      lock: of the folder, held by the caller; checked before anything counts.

    Raises:
      FingerprintError: another store is there; names both.
      StoreError: it was begun with other settings, or cannot be written.
    """
    begun = read_metadata(folder)
    if begun is None:
        metadata = {
            "format": FORMAT,
            "kind": "activations",
            "complete": False,
            "fingerprint": dict(fingerprint),
            "layout": dict(new_layout()),
            "progress": {"windows": 0, **Counts()._asdict()},
        }
        write_json(folder, METADATA, metadata, indent=1)
        return _with_arrays(StoreWriter(folder, metadata, lock), arrays)
    check_same(
        f"the store in {folder.name}",
        begun["fingerprint"],
        "this extraction",
        fingerprint,
        remedy="Give another path, or delete that store.",
    )
    for key, value in requested.items():
        before = begun["layout"].get(key)
        if before != value and not begun["complete"]:
            raise StoreError(
                f"the store in {folder.name} was begun with {key}={before!r}, this run "
                f"has {value!r}, and the last bits of the states depend on it. Resume "
                f"with the same {key}, give another path, or delete that store."
            )
    return _with_arrays(StoreWriter(folder, begun, lock), arrays)


def _with_arrays(
    writer: StoreWriter, arrays: Mapping[str, tuple[str, int | None]]
) -> StoreWriter:
    for key, (dtype, width) in arrays.items() if not writer.complete else ():
        rows = writer.layout["chunk_rows"]
        open_array(
            writer.folder, key, create=True, dtype=dtype, width=width, chunk_rows=rows
        )
    return writer


def attach_store(folder: Folder) -> StoreWriter:
    """The writer of a process other than 0, for a store that process 0 has begun.

    Raises:
      StoreError: it is not visible to this process.
    """
    begun = read_metadata(folder)
    if begun is None:
        raise StoreError(
            f"{folder.name}: the store that process 0 has begun there is not to be "
            "seen from this process. Give a folder that all machines share, or a "
            "bucket, in --stores."
        )
    return StoreWriter(folder, begun)


def read_metadata(folder: Folder) -> dict[str, Any] | None:
    """The metadata record of a store, or None where there is none.

    Raises:
      StoreError: it is damaged or has another format.
    """
    metadata = read_json(folder, METADATA)
    if metadata is None:
        return None
    if not isinstance(metadata, dict) or metadata.get("kind") != "activations":
        raise StoreError(f"{folder.name} is not an activation store.")
    if metadata.get("format") != FORMAT:
        raise StoreError(
            f"{folder.name} has format {metadata.get('format')!r}, this version reads "
            f"{FORMAT}. Extract it again."
        )
    return metadata


def is_complete(folder: Folder) -> bool:
    """Whether a complete store exists there."""
    return bool((read_metadata(folder) or {}).get("complete"))
