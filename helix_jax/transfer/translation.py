"""Files of embeddings through a map, part by part: bounded memory, nothing done twice.

    OUT/rows/part-00000.parquet   the rows in their order, one out for each row in
    OUT/done/part-00000.json      written last: the part is complete

A part is the same rows whenever it is made, so that a killed run resumes after the last
complete one. Reading, mapping and writing overlap. Each core maps blocks of its own: a
product that is divided among cores waits for the slowest of them.
"""

import collections
import os
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import threadpoolctl

from helix_jax.activations.embedding_stream import Block, Vectors
from helix_jax.errors import StoreError
from helix_jax.map_confidence import Confidence
from helix_jax.maps_numpy import MapFolder, NumpyMap
from helix_jax.progress import Progress
from helix_jax.transfer.translated_parts import FOLDERS, Part, read_done, write_part

_T = TypeVar("_T")
BLOCK_BYTES = 4 << 20  # of rows read at once
PART_BYTES = 128 << 20  # of mapped rows held, and written at once
AHEAD = 4  # blocks read ahead


class Translation(NamedTuple):
    """What is done with each row.

    Attributes:
      map: applied to the rows, in float32.
      confidence: of the rows; None for none.
      cosine: name of the cosine that is predicted.
      coverage: of its bound.
      part_rows: of a part; the last may have fewer.
    """

    map: NumpyMap
    confidence: Confidence | None
    cosine: str
    coverage: float
    part_rows: int

    def names(self) -> list[str]:
        """Names of a row's confidence: predicted, lower bound, whether outside."""
        if self.confidence is None:
            return []
        return [f"{self.cosine}{end}" for end in ("", "_at_least", "_outside")]


def make_translation(
    found: MapFolder, *, cosine: str = "", coverage: float = 0.9, part_rows: int = 0
) -> Translation:
    """The translation that the folder of a map can do.

    Args:
      found: the folder.
      cosine: one of `map_confidence.COSINES`; empty for no confidence.
      coverage: share of rows at or above their bound.
      part_rows: of a part; 0: as many as `PART_BYTES` hold.

    Raises:
      StoreError: a confidence is asked for and the folder has none.
      ArtefactError: a coverage that its calibration cannot give.
    """
    own = found.confidence if cosine else None
    if cosine and own is None:
        raise StoreError(
            "this map was saved without a confidence for its rows: fit it again with "
            "experiments.fit, which calibrates one, or give --confidence=none."
        )
    if own is not None:
        own.margin(cosine, coverage)
    rows = part_rows or max(1, PART_BYTES // (4 * found.map.widths[1]))
    return Translation(found.map.cast(np.float32), own, cosine, coverage, rows)


def require_width(vectors: Vectors, found: MapFolder) -> None:
    """Raise StoreError unless the rows of a file are of a map's source width."""
    dx, dy = found.map.widths
    if vectors.width == dx:
        return
    hint = "; these are of the width of its target" if vectors.width == dy else ""
    source = found.config["fingerprints"]["source"]
    name = source.get("model") or source.get("embeddings") or "its source"
    raise StoreError(
        f"{vectors.path} has rows of width {vectors.width}, but the map takes rows of "
        f"width {dx} of {name}{hint}. Name the file or the map that fits."
    )


def translate(
    vectors: Vectors, translation: Translation, out: Path
) -> dict[str, float]:
    """Map every row of a file to parts in a folder; resumes where it was killed.

    Args:
      vectors: the file, of the map's source width.
      translation: what is done with each row.
      out: the folder, made where it is missing.

    Returns:
      rows, parts, and the sums of the cosines over all rows by their names.

    Raises:
      StoreError: a row cannot be read or holds NaN or infinity (its number), or a part
        cannot be written.
    """
    taken = set(translation.names()) & set(
        vectors.schema.names if vectors.schema else ()
    )
    if taken:
        raise StoreError(
            f"{vectors.path} has a column {min(taken)!r} already; rename it, or give "
            "--confidence=none."
        )
    for name in FOLDERS:
        (out / name).mkdir(parents=True, exist_ok=True)
    parts = -(-vectors.count // translation.part_rows)
    done = [read_done(out, number) for number in range(parts)]
    whole = next((k for k, one in enumerate(done) if one is None), parts)
    records = [record for record in done[:whole] if record is not None]
    start = whole * translation.part_rows
    unit = vectors.width * vectors.item_bytes
    size = max(1, BLOCK_BYTES // unit)
    with (
        Progress(
            "rows translated", total=vectors.count, done=start, unit="rows"
        ) as progress,
        threadpoolctl.threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(_cores()) as mappers,
        ThreadPoolExecutor(1) as writer,
    ):
        waiting: Future | None = None
        blocks = _ahead(vectors.blocks(start, size, translation.part_rows))
        for part in _parts(blocks, translation, vectors, whole, mappers, progress):
            if waiting is not None:
                records.append(waiting.result())
            waiting = writer.submit(write_part, out, vectors, part)
        if waiting is not None:
            records.append(waiting.result())
    totals: dict[str, float] = {"rows": 0, "parts": len(records)}
    for record in records:
        for name, value in record.items():
            totals[name] = totals.get(name, 0) + value
    if totals["rows"] != vectors.count:
        raise StoreError(
            f"{vectors.path} gave {totals['rows']} rows of {vectors.count}; it changed "
            "while it was read. Use another --out."
        )
    return totals


def _parts(
    blocks: Iterator[Block],
    translation: Translation,
    vectors: Vectors,
    number: int,
    mappers: ThreadPoolExecutor,
    progress: Progress,
) -> Iterator[Part]:
    """Blocks mapped and gathered to parts; the first bad row is reported."""
    rows, dy = translation.part_rows, translation.map.widths[1]
    part, filled = None, 0
    working: collections.deque[Future[int]] = collections.deque()
    for block in blocks:
        if part is None:
            left = min(rows, vectors.count - number * rows)
            part, filled = _empty(number, left, dy, translation), 0
        place = block, translation, part, filled, vectors.path
        working.append(mappers.submit(_map_block, *place))
        part.beside.append(block.beside)
        filled += len(block.x)
        full = filled == len(part.y)
        while working and (full or len(working) > AHEAD):
            progress.update(working.popleft().result())
        if full:
            yield part
            part, number = None, number + 1


def _empty(number: int, rows: int, dy: int, translation: Translation) -> Part:
    cosines = {name: np.empty(rows, np.float32) for name in translation.names()}
    return Part(number, np.empty((rows, dy), np.float32), cosines, [])


def _map_block(
    block: Block, translation: Translation, part: Part, place: int, path: Path
) -> int:
    """Fill rows of a part; returns how many."""
    with np.errstate(over="ignore", invalid="ignore"):
        x = np.ascontiguousarray(block.x, np.float32)
        y = translation.map(x)
        sound = np.isfinite(y.sum())
    if not sound:
        _require_finite(block, y, path)
    rows = slice(place, place + len(y))
    part.y[rows] = y
    if translation.confidence is not None:
        found = translation.confidence.judge(
            translation.cosine, x, y, coverage=translation.coverage
        )
        for own, values in zip(part.cosines.values(), found):
            own[rows] = values
    return len(y)


def _require_finite(block: Block, y: np.ndarray, path: Path) -> None:
    with np.errstate(over="ignore"):
        x = block.x.astype(np.float32)
    for rows, said in (
        (x, "holds NaN, infinity or a number beyond float32"),
        (y, "is mapped to a number beyond float32"),
    ):
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if len(bad):
            raise StoreError(
                f"{path}: row {block.start + bad[0]} (counting from 0) {said}. Compute "
                "that embedding again, or leave it out."
            )


def _ahead(items: Iterator[_T]) -> Iterator[_T]:
    """The items, prefetched in another thread."""
    ready: queue.Queue = queue.Queue(AHEAD)
    stopped = threading.Event()

    def put(what: Any) -> bool:
        while not stopped.is_set():
            try:
                ready.put(what, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    return
            put((None, StopIteration()))
        except BaseException as error:
            put((None, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
    finally:
        stopped.set()
        thread.join()


def _cores() -> int:
    """The cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
