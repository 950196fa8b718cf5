"""Writing a store window by window, so that a killed run can go on.

    metadata.json            what made it, the layout, the progress, "complete"
    texts/00000000.json      ids, labels and token counts of the first window of texts
    layers/12/               zarr3 array [N, D], one for each layer
    ends/                    zarr3 array [N], token-level stores only

A window's arrays and texts are written first and metadata.json last, in one atomic
write; what metadata.json does not count does not exist. No file holds a time, a host
or a path, so a run that was killed and one that was not leave the same bytes.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from helix_jax.activations.storage import Folder, open_array, read_json, write_json
from helix_jax.activations.storage_errors import STORAGE_ERRORS, write_error
from helix_jax.errors import StoreError
from helix_jax.fingerprint import check_same
from helix_jax.locks import Lock

FORMAT = 1
METADATA = "metadata.json"
DTYPES = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}


class Progress(NamedTuple):
    """What a store holds so far.

    Attributes:
      windows: windows written.
      texts_read: texts taken from the corpus, skipped ones included.
      texts, rows, tokens: written.
      truncated: texts that lost tokens at their end.
      empty: texts skipped because they have no token.
      digest: SHA-256 over the texts read; see `windows.update_digest`.
    """

    windows: int = 0
    texts_read: int = 0
    texts: int = 0
    rows: int = 0
    tokens: int = 0
    truncated: int = 0
    empty: int = 0
    digest: str = ""


class Window(NamedTuple):
    """One window of finished rows.

    Attributes:
      ids, labels: of its texts; a label is an int or None.
      lengths: [texts] int, tokens of each text.
      states: layer -> [rows, D] in the store's dtype.
      ends: [rows] int32 for a token-level store, else None.
      progress: the store's progress once this window is in it.
    """

    ids: list[str]
    labels: list[int | None]
    lengths: np.ndarray
    states: Mapping[int, np.ndarray]
    ends: np.ndarray | None
    progress: Progress


class StoreWriter:
    """Appends windows to a new or unfinished store.

    Attributes:
      folder: where it lies.
      layout: recorded settings that the bits of the states depend on.
      progress: what is safely written.
      complete: nothing is left to write.
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
    def progress(self) -> Progress:
        return Progress(**self._metadata["progress"])

    @property
    def complete(self) -> bool:
        return self._metadata["complete"]

    def append(self, window: Window) -> None:
        """Write one window; on return it is safe.

        Raises:
          StoreError: it could not be written, and nothing of it counts.
        """
        start, stop = self.progress.rows, window.progress.rows
        parts = {f"layers/{layer}": rows for layer, rows in window.states.items()}
        if window.ends is not None:
            parts["ends"] = window.ends
        needed = sum(rows.nbytes for rows in parts.values())
        pending = []
        for key, rows in parts.items():
            pending.append((key, self._grow(key, rows, stop)[start:stop].write(rows)))
        failed = None
        for key, future in pending:  # wait for all: none may go on behind an error
            try:
                future.result()
            except STORAGE_ERRORS as error:
                failed = failed or (key, error)
        if failed:
            raise write_error(self.folder, failed[0], needed, failed[1]) from failed[1]
        write_json(
            self.folder,
            texts_key(self.progress.windows),
            {
                "ids": window.ids,
                "labels": window.labels,
                "lengths": [int(length) for length in window.lengths],
            },
        )
        self._record(progress=window.progress._asdict())

    def finish(self) -> None:
        """Mark the store complete.

        Raises:
          StoreError: it holds no rows, or the mark could not be written.
        """
        if self.progress.rows == 0:
            raise StoreError(
                f"{self.folder.name}: the corpus gave no text at all, so there is no "
                "row to store. Check the corpus, its split and its limit."
            )
        self._record(complete=True)

    def _grow(self, key: str, rows: np.ndarray, stop: int) -> Any:
        width = rows.shape[1] if rows.ndim == 2 else None
        try:
            if key not in self._arrays:
                self._arrays[key] = open_array(
                    self.folder,
                    key,
                    create=True,
                    dtype=rows.dtype.name,
                    width=width,
                    chunk_rows=self.layout["chunk_rows"],
                )
            shape = [stop] if width is None else [stop, None]
            grown = self._arrays[key].resize(exclusive_max=shape).result()
        except STORAGE_ERRORS as error:
            if isinstance(error, StoreError):
                raise
            raise write_error(self.folder, key, rows.nbytes, error) from error
        self._arrays[key] = grown
        return grown

    def _record(self, **changes: Any) -> None:
        if self._lock is not None:
            self._lock.check()
        metadata = {**self._metadata, **changes}
        write_json(self.folder, METADATA, metadata, indent=1)
        self._metadata = metadata


def begin_store(
    folder: Folder,
    *,
    fingerprint: Mapping[str, Any],
    new_layout: Callable[[], Mapping[str, Any]],
    requested: Mapping[str, Any],
    lock: Lock | None = None,
) -> StoreWriter:
    """Make a store, or go on with the one that lies there.

    Args:
      folder: where.
      fingerprint: what makes it; must equal that of a store found there.
      new_layout: gives the settings of a new store; an unfinished one keeps its own.
      requested: the part of the layout that the caller insists on.
      lock: of the folder, held by the caller; checked before anything counts.

    Raises:
      FingerprintError: another store lies there; names both.
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
            "progress": Progress()._asdict(),
        }
        write_json(folder, METADATA, metadata, indent=1)
        return StoreWriter(folder, metadata, lock)
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
    return StoreWriter(folder, begun, lock)


def read_metadata(folder: Folder) -> dict[str, Any] | None:
    """The metadata record of a store, or None where there is none.

    Raises:
      StoreError: damaged, or of another format.
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
    """Whether a whole store lies there."""
    return bool((read_metadata(folder) or {}).get("complete"))


def texts_key(window: int) -> str:
    """Key of a window's ids, labels and lengths."""
    return f"texts/{window:08d}.json"
