"""Preparation of rows for fits, in two passes over their source, block by block."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from helix_jax.atomic import replaced_file
from helix_jax.errors import StoreError
from helix_jax.locks import hold
from helix_jax.paths import local_path, os_errors
from helix_jax.private.accountant import Privacy
from helix_jax.private.fit_account import RowHashes, hash_each, join_hashes
from helix_jax.private.fit_plan import rows_digest
from helix_jax.private.fit_targets import (
    Measures,
    float_blocks,
    integer_targets,
    measure,
    require_measures,
    row_source,
)
from helix_jax.private.prepared_rows import (
    INTEGERS_FILE,
    PreparedRows,
    read_prepared,
    write_record,
)
from helix_jax.private.row_blocks import INTEGERS, RowBlock, RowFile, RowSource
from helix_jax.types import Array


class _Seen(NamedTuple):
    """What the first pass finds out."""

    measures: Measures
    hashes: RowHashes


def prepare_rows(
    source: Array | RowSource,
    *,
    ids: Iterable[str] | None = None,
    privacy: Privacy | None = None,
    folder: str | os.PathLike | None = None,
    source_name: str = "",
) -> PreparedRows:
    """Turn rows into integers, once for any number of fits (`FitProvider`).

    Args:
      source: [n, d_y] float, finite: an array, or anything with a shape whose slices of
        rows are arrays. It is read in blocks, once to be measured and once more if its
        integers are not in the folder yet.
      ids: [n] names of the rows, which the client's names must equal, in this order.
      privacy: differential privacy of the rows; None for none.
      folder: where the integers are kept, readable by its owner alone; created if
        missing. Integers of the same rows that are already there are used again,
        damaged ones are made again. None keeps them in memory.
      source_name: a name that stays with the source only as long as not one bit of it
        changes. Rows in the folder that have this name are used without reading the
        source. Empty for no name: the source is read and hashed.

    Returns:
      PreparedRows.

    Raises:
      ValueError: a shape or a value is not allowed.
      TypeError: the rows are not numbers.
      StoreError: the integers cannot be kept in the folder.
    """
    source, digest = row_source(source), rows_digest(ids)
    if folder is None:
        seen = _look(source, digest)
        require_measures(seen.measures, privacy)
        rows = np.empty(tuple(source.shape), INTEGERS)

        def put(block: RowBlock) -> None:
            rows[block.start : block.start + len(block.rows)] = block.rows

        targets = integer_targets(source, seen.measures, privacy, put)
        longest = seen.measures.longest
        return PreparedRows(rows, targets, seen.hashes, digest, longest, privacy)
    folder = local_path(folder, "the folder of prepared rows")
    with os_errors(folder, "be written", StoreError):
        # Private: the integers are the rows themselves, to 15 bits.
        folder.mkdir(0o700, parents=True, exist_ok=True)
    with hold(folder, "the preparation of rows"):
        kept = read_prepared(folder, ids_digest=digest, privacy=privacy)
        if kept is not None and kept.rows.shape != tuple(source.shape):
            kept = None
        if kept is not None and source_name and kept.source == source_name:
            return kept
        seen = _look(source, digest)
        if kept is not None and (
            kept.hashes == seen.hashes and kept.source == source_name
        ):
            return kept
        require_measures(seen.measures, privacy)
        return _keep(folder, source, seen, digest, privacy, source_name)


def _look(source: RowSource, digest: bytes) -> _Seen:
    """The first pass: measure and hash the rows."""
    measures: Measures | None = None
    each = np.empty((source.shape[0], 32), np.uint8)
    for start, block in float_blocks(source):
        measures = measure(block, measures)
        each[start : start + len(block)] = hash_each(block)
    if measures is None:
        raise ValueError("FitProvider: expected one row or more, got none.")
    return _Seen(measures, join_hashes(each, source.shape[1], digest))


def _keep(
    folder: Path,
    source: RowSource,
    seen: _Seen,
    digest: bytes,
    privacy: Privacy | None,
    source_name: str,
) -> PreparedRows:
    """The second pass: write the integers, then the record, which makes them valid."""
    file, written = folder / INTEGERS_FILE, hashlib.sha256()
    with (
        replaced_file(file, raises=StoreError) as temporary,
        temporary.open("wb") as stream,
    ):

        def put(block: RowBlock) -> None:
            stream.write(block.rows)
            written.update(block.rows)

        targets = integer_targets(source, seen.measures, privacy, put)
    prepared = PreparedRows(
        RowFile(file, tuple(source.shape)),
        targets,
        seen.hashes,
        digest,
        seen.measures.longest,
        privacy,
        source_name,
    )
    write_record(folder, prepared, written.digest())
    return prepared
