"""The index folder of a provider: unit vectors, records of ids and texts, clusters.

    config.json            sizes, the model that made the vectors, digests of the others
    vectors.npy            [N, d] float32 of norm 1, read from the disk as it is needed
    records.npy            [N, size] uint8, see `records`
    arrays.safetensors     order, sizes; with clusters: centroids, sets, weights

Rows are stored block by block. Up to 200,000 rows are in random order, so that a block
reveals nothing about its content, and only texts are read in blocks; more rows are in
balanced clusters. All files are replaced at once: a killed build leaves the old ones.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from helix_jax.array_files import dump_safetensors, read_safetensors
from helix_jax.atomic import replaced_files
from helix_jax.errors import ArtefactError
from helix_jax.paths import local_path, os_errors
from helix_jax.private.packing import MAX_CLASSES
from helix_jax.private.search.layout import Layout, lay_out
from helix_jax.private.search.records import MAX_RECORD_BYTES, pack_record
from helix_jax.private.search.rows import read_documents, read_vectors
from helix_jax.progress import bar
from helix_jax.textfile import read_json

KIND, FORMAT = "search_index", 1
CONFIG, VECTORS, RECORDS = "config.json", "vectors.npy", "records.npy"
ARRAYS = "arrays.safetensors"
_REMEDY = "build the index again"
NORM_TOLERANCE = 2.0**-12  # well above the rounding of float32
_BLOCK = 8192


@dataclasses.dataclass(frozen=True)
class SearchIndex:
    """An open index folder.

    Attributes:
      name: 16 bytes, a hash of its content.
      model: the model that made the vectors, a record that JSON can hold.
      vectors: [N, d] float32 of norm 1, block by block.
      records: [N, size] uint8.
      layout: where the rows are.
    """

    name: bytes
    model: Mapping[str, Any]
    vectors: np.ndarray
    records: np.ndarray
    layout: Layout


def save_index(
    folder: str | os.PathLike,
    vectors: np.ndarray,
    *,
    model: Mapping[str, Any],
    ids: Sequence[str] | None = None,
    texts: Sequence[str] | None = None,
    clusters: bool | None = None,
    block_rows: int = 512,
    probes: int = 16,
    listed: int = 4096,
    seed: int = 0,
) -> Path:
    """Write an index folder atomically; it may replace an index, but nothing else.

    Args:
      folder: where; missing parents are created.
      vectors: [N, d] float, finite, no zero rows; they are scaled to norm 1.
      model: the model that made them, such as its fingerprint.
      ids: [N] of the rows; None numbers them.
      texts: [N]; with None, hits have only ids.
      clusters: whether rows are in clusters; None means from 200,001 rows on.
      block_rows: most rows of a cluster, or of a block of texts.
      probes: clusters that a query requests.
      listed: most sets of clusters in the public list that a query chooses from.
      seed: of the order, and of the clusters.

    Raises:
      ValueError, TypeError: the vectors, ids, texts or settings are not allowed.
      ArtefactError: the folder holds something else, or cannot be written.
    """
    folder = local_path(folder, "the folder of an index")
    _require_replaceable(folder)
    count, width = read_vectors(vectors)
    own_ids, own_texts, size = read_documents(ids, texts, count)
    if clusters is None:
        clusters = count > MAX_CLASSES
    layout = lay_out(
        vectors,
        clusters=clusters,
        block_rows=block_rows,
        probes=probes,
        listed=listed,
        seed=seed,
    )
    with replaced_files(folder, raises=ArtefactError) as new:
        shape, order = (count, width), layout.order
        out = np.lib.format.open_memmap(new / VECTORS, "w+", np.float32, shape)
        for start in bar(range(0, count, _BLOCK), "vectors"):
            own = order[start : start + _BLOCK]
            out[start : start + _BLOCK] = unit(vectors[own])
        out.flush()
        name = _name(new / VECTORS, order, own_ids, own_texts)
        records = np.lib.format.open_memmap(
            new / RECORDS, "w+", np.uint8, (count, size)
        )
        for row, old in enumerate(bar(order.tolist(), "records")):
            record = pack_record(name, row, own_ids[old], own_texts[old], size)
            records[row] = np.frombuffer(record, np.uint8)
        records.flush()
        dump_safetensors(new / ARRAYS, layout.arrays())
        config = {
            "kind": KIND,
            "format": FORMAT,
            "name": name.hex(),
            "rows": count,
            "width": width,
            "record_bytes": size,
            "block_rows": block_rows,
            "clusters": clusters,
            "model": dict(model),
            "sha256": {
                file: _digest(new / file) for file in (VECTORS, RECORDS, ARRAYS)
            },
        }
        (new / CONFIG).write_text(json.dumps(config, indent=2, allow_nan=False) + "\n")
    return folder


def open_index(folder: str | os.PathLike) -> SearchIndex:
    """Open an index folder; every byte is read once and checked.

    Raises:
      ArtefactError: the folder does not exist, is damaged, or is not an index.
    """
    folder = local_path(folder, "the folder of an index")
    config = _read_config(folder)
    digests = config.get("sha256")
    for file in (VECTORS, RECORDS, ARRAYS):
        with os_errors(folder / file, "be read", ArtefactError):
            found = _digest(folder / file)
        if not isinstance(digests, dict) or digests.get(file) != found:
            raise ArtefactError(
                f"{folder / file} is damaged: it is not the file that {CONFIG} was "
                f"saved with; {_REMEDY}."
            )
    try:
        count, width, size = (
            int(config[name]) for name in ("rows", "width", "record_bytes")
        )
        name, model = bytes.fromhex(config["name"]), dict(config["model"])
        arrays = read_safetensors(folder / ARRAYS, remedy=_REMEDY, raises=ArtefactError)
        layout = Layout.from_arrays(
            arrays, block_rows=config["block_rows"], clusters=config["clusters"]
        )
        vectors, records = (
            np.load(folder / file, mmap_mode="r", allow_pickle=False)
            for file in (VECTORS, RECORDS)
        )
    except (KeyError, TypeError, ValueError) as wrong:
        raise ArtefactError(
            f"{folder} is damaged ({type(wrong).__name__}: {wrong}); {_REMEDY}."
        ) from wrong
    shapes = vectors.shape, records.shape, len(layout.order), len(name)
    kinds = vectors.dtype, records.dtype
    if (
        shapes != ((count, width), (count, size), count, 16)
        or kinds != (np.float32, np.uint8)
        or not 0 < size <= MAX_RECORD_BYTES
        or size % 3
    ):
        raise ArtefactError(
            f"{folder} is damaged: arrays of {shapes} and {kinds} in place of {count} "
            f"rows of width {width} and records of {size} bytes; {_REMEDY}."
        )
    _require_units(folder / VECTORS, vectors)
    if layout.centroids is not None:
        _require_units(folder / ARRAYS, layout.centroids[layout.sizes > 0])
    return SearchIndex(name, model, vectors, records, layout)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows [n, d] scaled to norm 1, float32."""
    rows = np.asarray(vectors, np.float64)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _require_units(path: Path, rows: np.ndarray) -> None:
    """Refuse rows whose norm is not 1: the layers' floods rely on it."""
    for start in range(0, len(rows), _BLOCK):
        norms = np.linalg.norm(rows[start : start + _BLOCK], axis=1)
        if not (np.abs(norms - 1) < NORM_TOLERANCE).all():
            raise ArtefactError(
                f"{path} is damaged: its rows are not of norm 1; {_REMEDY}."
            )


def _name(
    vectors: Path, order: np.ndarray, ids: Sequence[bytes], texts: Sequence[bytes]
) -> bytes:
    found = hashlib.sha256(_digest(vectors).encode() + order.tobytes())
    for own_id, text in zip(ids, texts):
        found.update(b"%d %d " % (len(own_id), len(text)) + own_id + text)
    return found.digest()[:16]


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = read_json(folder / CONFIG, raises=ArtefactError)
    except ArtefactError as error:
        raise ArtefactError(
            f"{folder} is not a folder of a search index: {error} Build one with: "
            "python -m experiments.index."
        ) from error
    found = config.get("kind") if isinstance(config, dict) else None
    if found != KIND:
        raise ArtefactError(f"{folder} holds a {found!r}, expected a {KIND!r}.")
    if config.get("format") != FORMAT:
        raise ArtefactError(
            f"{folder} has format {config.get('format')!r}, expected {FORMAT}; "
            f"{_REMEDY}."
        )
    return config


def _require_replaceable(folder: Path) -> None:
    """Refuse to replace a folder that is not an index."""
    if (folder / CONFIG).exists():
        _read_config(folder)
