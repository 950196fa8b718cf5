"""Parts of a translated file: rows that are mapped, and how they are written.

.parquet      every column of the input, "embedding" mapped, and the cosines
.npy          part-00000.npy, .ids.txt, .cosines.npy [n, 3], as in a Parquet row
.safetensors  embeddings, labels, ids, as the input has them; the cosines
"""

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow
import pyarrow.parquet

from helix_jax.activations.embedding_stream import Vectors
from helix_jax.array_files import write_safetensors
from helix_jax.atomic import replaced_file, write_file
from helix_jax.errors import StoreError
from helix_jax.textfile import read_json

FOLDERS = ("rows", "done")
_GROUP_ROWS = 8192  # of Parquet


class Part(NamedTuple):
    """Rows that are mapped.

    Attributes:
      number: of the part.
      y: [n, dy] float32.
      cosines: name -> [n] float32: predicted, at least, outside (1 or 0).
      beside: the blocks' `beside`, one after the other.
    """

    number: int
    y: np.ndarray
    cosines: Mapping[str, np.ndarray]
    beside: list[Mapping[str, Any]]


def read_done(out: Path, number: int) -> dict[str, float] | None:
    """The record of a complete part; None if the part is not complete."""
    path = _done(out, number)
    return read_json(path, raises=StoreError) if path.exists() else None


def write_part(out: Path, vectors: Vectors, part: Part) -> dict[str, float]:
    """Write a part, and last the record that it is complete.

    Args:
      out: folder with FOLDERS in it.
      vectors: the input file, whose format the part takes.
      part: the rows.

    Returns:
      rows, and the sums of the cosines.

    Raises:
      StoreError: it cannot be written.
    """
    suffix = vectors.path.suffix.lower()
    _WRITERS[suffix](out / "rows" / f"part-{part.number:05}", vectors, part)
    record: dict[str, float] = {"rows": len(part.y)}
    record |= {
        name: float(values.sum(dtype=float)) for name, values in part.cosines.items()
    }
    write_file(_done(out, part.number), json.dumps(record), raises=StoreError)
    return record


def _done(out: Path, number: int) -> Path:
    return out / "done" / f"part-{number:05}.json"


def _write_parquet(start: Path, vectors: Vectors, part: Part) -> None:
    if vectors.schema is None:
        raise StoreError(f"{vectors.path} has no columns; it is not a Parquet file.")
    # Without room for nulls, which costs time to write and to read.
    number = pyarrow.field("element", pyarrow.float32(), nullable=False)
    columns, fields = [], []
    for name in vectors.schema.names:
        if name == "embedding":
            kind = pyarrow.list_(number, part.y.shape[1])
            fields.append(pyarrow.field(name, kind, nullable=False))
            flat = pyarrow.array(part.y.reshape(-1))
            columns.append(pyarrow.FixedSizeListArray.from_arrays(flat, type=kind))
        else:
            fields.append(vectors.schema.field(name))
            columns.append(pyarrow.chunked_array([own[name] for own in part.beside]))
    for name, values in part.cosines.items():
        fields.append(pyarrow.field(name, pyarrow.float32(), nullable=False))
        columns.append(pyarrow.array(values))
    table = pyarrow.table(columns, schema=pyarrow.schema(fields))
    with replaced_file(f"{start}.parquet", raises=StoreError) as temporary:
        # States rarely repeat a number: dictionaries and statistics do not help.
        pyarrow.parquet.write_table(
            table,
            temporary,
            row_group_size=_GROUP_ROWS,
            use_dictionary=False,
            write_statistics=False,
            compression="none",
        )


def _write_npy(start: Path, _: Vectors, part: Part) -> None:
    arrays = {"": part.y}
    if part.cosines:
        arrays[".cosines"] = np.stack(list(part.cosines.values()), axis=1)
    for name, array in arrays.items():
        with (
            replaced_file(f"{start}{name}.npy", raises=StoreError) as temporary,
            temporary.open("wb") as stream,
        ):
            np.save(stream, array)
    if "ids" in part.beside[0]:
        lines = "".join(f"{one}\n" for one in _joined(part, "ids"))
        write_file(f"{start}.ids.txt", lines, raises=StoreError)


def _write_safetensors(start: Path, _: Vectors, part: Part) -> None:
    arrays, metadata = {"embeddings": part.y, **part.cosines}, {}
    if "labels" in part.beside[0]:
        arrays["labels"] = np.concatenate([own["labels"] for own in part.beside])
    if "ids" in part.beside[0]:
        metadata["ids"] = json.dumps(list(_joined(part, "ids")))
    path = f"{start}.safetensors"
    write_safetensors(path, arrays, metadata=metadata, raises=StoreError)


def _joined(part: Part, name: str) -> Iterator[Any]:
    return itertools.chain.from_iterable(own[name] for own in part.beside)


_WRITERS = {
    ".parquet": _write_parquet,
    ".npy": _write_npy,
    ".safetensors": _write_safetensors,
}
