"""A provider's rows in the form that fits use: integers, and their record.

They are made once and shared by every fit of the same rows. In a folder they are two
files: the integers, whose rows are read when a message needs them, and a record with
their SHA-256. So memory does not grow with the number of rows.
"""

import dataclasses
import functools
import logging
from pathlib import Path

import numpy as np

from helix_jax.array_files import read_npz, write_npz
from helix_jax.errors import StoreError
from helix_jax.private import fit_bits
from helix_jax.private.accountant import Privacy
from helix_jax.private.fit_account import RowHashes
from helix_jax.private.fit_targets import Targets
from helix_jax.private.row_blocks import RowFile, RowSource

LOG = logging.getLogger(__name__)

INTEGERS_FILE = "integers"
_RECORD_FILE = "rows.npz"
_VERSION = 1  # of both files, and of how the integers are made
_REMEDY = "remove the folder to prepare them again"


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedRows:
    """Rows of `prepare_rows`.

    Attributes:
      rows: [n, d_y] int32, an array or a file whose slices are read.
      targets: what an offer says about them.
      hashes: of the rows before they became integers.
      ids_digest: of their names.
      longest: the largest norm of a row before it became integers.
      privacy: of the rows, or None.
      source: the caller's name for their source; empty if it has none.
    """

    rows: RowSource
    targets: Targets
    hashes: RowHashes
    ids_digest: bytes
    longest: float
    privacy: Privacy | None
    source: str = ""

    @functools.cached_property
    def held_bits(self) -> float:
        """Bits that the integers hold; see `fit_bits`."""
        return fit_bits.held_bits(self.rows)


def write_record(folder: Path, prepared: PreparedRows, integers: bytes) -> None:
    """Write the record of rows whose integers are in the folder.

    Args:
      folder: that holds the integers.
      prepared: the rows.
      integers: SHA-256 of their file.

    Raises:
      StoreError: it cannot be written.
    """
    targets, privacy = prepared.targets, prepared.privacy
    arrays = {
        "version": np.array(_VERSION),
        "source": np.array(prepared.source),
        "shape": np.array(prepared.rows.shape),
        "ids": _array(prepared.ids_digest),
        "privacy": np.array(_privacy(privacy)),
        "fingerprint": _array(prepared.hashes.fingerprint),
        "subject": _array(prepared.hashes.subject),
        "integers": _array(integers),
        "numbers": np.array(
            [
                prepared.longest,
                prepared.held_bits,
                targets.norm,
                targets.mean,
                targets.energy,
            ]
        ),
        "exponents": targets.exponents,
    }
    if targets.means is not None:
        arrays["means"] = targets.means
    write_npz(folder / _RECORD_FILE, arrays, compressed=False, raises=StoreError)


def read_prepared(
    folder: Path, *, ids_digest: bytes, privacy: Privacy | None
) -> PreparedRows | None:
    """Read the rows that a folder keeps; None if they must be prepared again.

    They must if they are missing or damaged, have other names or another privacy, or
    were written in another version of the format.

    Args:
      folder: that may have them.
      ids_digest: of the names that they must have.
      privacy: that they must have.
    """
    if not (folder / _RECORD_FILE).exists():
        return None
    try:
        return _read(folder, ids_digest, privacy)
    except StoreError as damage:
        LOG.warning("%s Rows are prepared again.", damage)
        return None


def _read(
    folder: Path, ids_digest: bytes, privacy: Privacy | None
) -> PreparedRows | None:
    file = folder / _RECORD_FILE
    arrays = read_npz(file, remedy=_REMEDY, raises=StoreError)
    if "version" not in arrays or arrays["version"].tolist() != _VERSION:
        return None
    try:
        if arrays["ids"].tobytes() != ids_digest or tuple(
            arrays["privacy"].tolist()
        ) != _privacy(privacy):
            return None
        rows = RowFile(folder / INTEGERS_FILE, tuple(arrays["shape"].tolist()))
        if rows.digest() != arrays["integers"].tobytes():
            raise StoreError(f"{folder / INTEGERS_FILE} is damaged; {_REMEDY}.")
        longest, held_bits, norm, mean, energy = arrays["numbers"].tolist()
        prepared = PreparedRows(
            rows,
            Targets(arrays["exponents"], norm, mean, arrays.get("means"), energy),
            RowHashes(arrays["fingerprint"].tobytes(), arrays["subject"].tobytes()),
            ids_digest,
            longest,
            privacy,
            str(arrays["source"]),
        )
    except (KeyError, ValueError) as wrong:
        if isinstance(wrong, StoreError):
            raise
        raise StoreError(f"{file} is damaged ({wrong}); {_REMEDY}.") from wrong
    prepared.__dict__["held_bits"] = held_bits  # fills the cached property
    return prepared


def _privacy(privacy: Privacy | None) -> tuple[float, ...]:
    """Numbers that identify a privacy; empty for None."""
    return () if privacy is None else dataclasses.astuple(privacy)


def _array(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)
