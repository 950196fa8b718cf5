"""A store of activations or embeddings: rows with the ids of their texts."""

import dataclasses
import functools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from helix_jax import kinds
from helix_jax.activations.storage import open_array, read_rows
from helix_jax.activations.store_lock import store_writer
from helix_jax.activations.window_texts import (
    read_counts,
    sum_counts,
    texts_key,
    windows_written,
)
from helix_jax.activations.writer import read_metadata
from helix_jax.arguments import takes
from helix_jax.errors import StoreError
from helix_jax.fingerprint import check_same
from helix_jax.storage import open_folder, read_many

Reader = Callable[[int, slice | np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Store:
    """Rows of one or more layers, each with the id and label of its text.

    Attributes:
      name: path or file, for messages.
      layers: numbers of the layers that it holds; an import holds only layer 0.
      width: D.
      fingerprint: what made it.
      counts: texts, rows, tokens, truncated, empty.
      text_ids: id of each text.
      text_labels: [texts] int32, class of each text, -1 for none.
      lengths: [texts] int, tokens of each text, or None for an import.
      ends: [rows] int32 for a token-level store: the character at which each token
        ends, -1 for special tokens; None when a row is a text.
      throughput: seconds and tokens_per_second of the extraction that returned this
        store; empty if it was only opened.
      selection: [N] int, the rows of a view (`select`); None for all rows.
      reader: (layer, rows) -> [n, D] in the stored dtype.
    """

    name: str
    layers: tuple[int, ...]
    width: int
    fingerprint: Mapping[str, Any]
    counts: Mapping[str, int]
    text_ids: Sequence[str]
    text_labels: np.ndarray
    reader: Reader = dataclasses.field(repr=False)
    lengths: np.ndarray | None = None
    ends: np.ndarray | None = None
    throughput: Mapping[str, float] = dataclasses.field(default_factory=dict)
    selection: np.ndarray | None = None

    def __len__(self) -> int:
        """The number of rows N."""
        return len(self._row_texts if self.selection is None else self.selection)

    @functools.cached_property
    def ids(self) -> list[str]:
        """[N] id of each row: its text's, or "TEXT@END" for a token.

        Tokens that end at the same character (bytes of one character, special
        tokens) have equal ids.
        """
        texts = self._select(self._row_texts)
        ids = [self.text_ids[text] for text in texts]
        if self.ends is None:
            return ids
        ends = self._select(self.ends)
        return [f"{text_id}@{end}" for text_id, end in zip(ids, ends)]

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """[N] int32, class of each row's text, -1 for none."""
        return self.text_labels[self._select(self._row_texts)]

    @functools.cached_property
    def row_starts(self) -> np.ndarray:
        """[texts + 1] int64, the first row of each text in the whole store."""
        return np.concatenate([[0], np.cumsum(self._text_rows)]).astype(np.int64)

    @functools.cached_property
    def _row_texts(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.text_ids)), self._text_rows)

    @functools.cached_property
    def _text_rows(self) -> np.ndarray:
        """[texts] int64, rows of each text: one, or one a token."""
        if self.ends is None or self.lengths is None:
            return np.ones(len(self.text_ids), np.int64)
        return self.lengths

    def _select(self, values: np.ndarray) -> np.ndarray:
        return values if self.selection is None else values[self.selection]

    def rows(self, layer: int | None = None, *, batch: int = 8192) -> Iterator[Any]:
        """Rows in order, `batch` at a time, the next batch read ahead.

        Args:
          layer: which layer; negative counts from the end of `layers`; None if the
            store holds one only.
          batch: rows per step.

        Yields:
          [n, D] float32, n = batch except at the end.
        """
        layer = self._layer(layer)
        if batch < 1:
            raise ValueError(f"batch must be at least 1, got {batch}.")
        with ThreadPoolExecutor(1) as pool:
            starts = range(0, len(self), batch)
            ahead = None
            for start in starts:
                job = pool.submit(self._read, layer, start, start + batch)
                if ahead is not None:
                    yield ahead.result()
                ahead = job
            if ahead is not None:
                yield ahead.result()

    def read(self, layer: int | None = None) -> np.ndarray:
        """All rows of a layer at once, [N, D] float32."""
        return self._read(self._layer(layer), 0, len(self))

    def select(self, rows: np.ndarray) -> "Store":
        """A view of some rows, in the given order.

        Args:
          rows: [n] int row numbers, or [N] bool.

        Returns:
          A store that reads only these.
        """
        rows = np.asarray(rows)
        if rows.dtype == bool:
            if rows.shape != (len(self),):
                raise ValueError(
                    f"select: a mask must have {len(self)} entries, got {rows.shape}."
                )
            rows = np.flatnonzero(rows)
        rows = rows.astype(np.int64)
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self)):
            raise ValueError(
                f"select: rows must be 0..{len(self) - 1}, got "
                f"{rows.min()}..{rows.max()}."
            )
        chosen = rows if self.selection is None else self.selection[rows]
        return dataclasses.replace(self, selection=chosen)

    def only(self, layer: int) -> "Store":
        """A view of one layer, as if only it had been extracted.

        Args:
          layer: which; negative counts from the end of `layers`.
        """
        layer, record = self._layer(layer), dict(self.fingerprint)
        if "layers" in record:
            record["layers"] = [layer]
        return dataclasses.replace(self, layers=(layer,), fingerprint=record)

    def _read(self, layer: int, start: int, stop: int) -> np.ndarray:
        rows = slice(start, min(stop, len(self)))
        if self.selection is not None:
            chosen = self.selection[rows]
            first = chosen[0] if len(chosen) else 0
            contiguous = np.array_equal(chosen, np.arange(first, first + len(chosen)))
            if not contiguous:
                return np.asarray(self.reader(layer, chosen), np.float32)
            rows = slice(first, first + len(chosen))
        return np.asarray(self.reader(layer, rows), np.float32)

    def _layer(self, layer: int | None) -> int:
        if layer is None and len(self.layers) == 1:
            return self.layers[0]
        if layer is not None and -len(self.layers) <= layer < 0:
            return self.layers[layer]
        if layer not in self.layers:
            raise StoreError(
                f"{self.name} holds layers {list(self.layers)}, asked for {layer}."
            )
        return layer


@takes(path=kinds.PATH)
def open_store(
    path: str | os.PathLike, *, expect: Mapping[str, Any] | None = None
) -> Store:
    """Open a complete store.

    Args:
      path: local folder or URL.
      expect: the fingerprint that it must have; None: any.

    Returns:
      The store; rows stay on disk until read.

    Raises:
      StoreError: the store is missing, damaged, or incomplete.
      FingerprintError: it was made from other inputs; names both.
    """
    folder = open_folder(path)
    metadata = read_metadata(folder)
    if metadata is None:
        raise StoreError(
            f"there is no activation store in {folder.name}. Make one with "
            "helix_jax.activations.extract."
        )
    if expect is not None:
        check_same(
            f"the store in {folder.name}",
            metadata["fingerprint"],
            "what this run uses",
            expect,
            remedy="Extract again to another path, or open the store made for this.",
        )
    progress = metadata["progress"]
    if not metadata["complete"]:
        writer = store_writer(folder)
        rows = sum_counts(read_counts(folder, windows_written(folder)).values()).rows
        state = (
            f"it is being written by {writer}. Wait for it to end"
            if writer
            else "its extraction was interrupted. Run the same extraction again; it "
            "resumes there"
        )
        raise StoreError(
            f"the store in {folder.name} is incomplete ({rows} rows so far): {state}."
        )
    keys = [texts_key(window) for window in range(progress["windows"])]
    windows = [
        _parse(folder.name, key, value or b"")
        for key, value in zip(keys, read_many(folder, keys))
    ]
    ids = [own for window in windows for own in window["ids"]]
    labels = [-1 if own is None else own for w in windows for own in w["labels"]]
    lengths = [own for window in windows for own in window["lengths"]]
    layers = tuple(metadata["fingerprint"]["layers"])
    arrays = {layer: open_array(folder, f"layers/{layer}") for layer in layers}
    ends = None
    if metadata["fingerprint"]["pooling"] == "token":
        ends = read_rows(folder, "ends", open_array(folder, "ends"), slice(None))
    shapes = {array.shape[0] for array in arrays.values()}
    if len(ids) != progress["texts"] or shapes != {progress["rows"]}:
        raise StoreError(
            f"the store in {folder.name} is damaged: metadata.json counts "
            f"{progress['texts']} texts and {progress['rows']} rows, found {len(ids)} "
            f"texts and arrays of {sorted(shapes)} rows. Delete it and extract again."
        )

    def reader(layer: int, rows: slice | np.ndarray) -> np.ndarray:
        return read_rows(folder, f"layers/{layer}", arrays[layer], rows)

    names = ("texts", "rows", "tokens", "truncated", "empty")
    return Store(
        name=folder.name,
        layers=layers,
        width=arrays[layers[0]].shape[1],
        fingerprint=metadata["fingerprint"],
        counts={name: progress[name] for name in names},
        text_ids=ids,
        text_labels=np.array(labels, np.int32),
        reader=reader,
        lengths=np.array(lengths, np.int64),
        ends=ends,
    )


def _parse(name: str, key: str, value: bytes) -> dict[str, Any]:
    try:
        return json.loads(value)
    except ValueError as error:
        raise StoreError(
            f"{name}/{key} is missing or damaged ({error}). Delete the store and "
            "extract it again."
        ) from error
