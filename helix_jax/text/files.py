"""Tables and text files as streams of records; errors name the file and the line.

CSV has quotes and a header line, and keeps the line breaks inside quotes as they are;
TSV has a header line and no quoting (a quotation mark is a character like any other, as
in GLUE); JSONL has one object a line; Parquet is read batch by batch; a .txt file is
cut into texts by `paragraphs`. Text is read as `textfile` says: UTF-8, or UTF-16 with
a byte order mark.
"""

import csv
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helix_jax.errors import CorpusError
from helix_jax.paths import os_errors
from helix_jax.text.paragraphs import paragraph_texts
from helix_jax.textfile import read_jsonl, read_lines

if TYPE_CHECKING:  # slow to import, and for Parquet alone
    import pyarrow.parquet

TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
SUFFIXES = (*TABLES, ".txt")

# Line number from 1, then column -> value.
Record = tuple[int, dict[str, Any]]


def read_records(path: Path) -> Iterator[Record]:
    """Stream the records of a CSV, TSV, JSONL or Parquet file.

    Args:
      path: file; its suffix names the format.

    Yields:
      Line number at which a record begins (row number for Parquet) and a dictionary
      of columns.

    Raises:
      CorpusError: the file is missing, not text, malformed, or of another kind.
    """
    suffix = path.suffix.lower()
    if suffix not in TABLES:
        more = "; unpack it first" if suffix in (".gz", ".zip", ".zst", ".xz") else ""
        raise CorpusError(
            f"{path}: cannot read {suffix or 'a file without suffix'!r}; text comes "
            f"from {', '.join(SUFFIXES)} files{more}."
        )
    if suffix == ".parquet":
        yield from _read_parquet(path)
    elif suffix == ".jsonl":
        yield from read_jsonl(path, raises=CorpusError)
    else:
        yield from _read_csv(path)


def read_paragraphs(path: Path) -> Iterator[tuple[int, int, str]]:
    """Stream the texts of a .txt file: (document, number in it, text)."""
    yield from paragraph_texts(read_lines(path, raises=CorpusError))


def column_names(path: Path) -> list[str]:
    """Column names of a table, from its header or its first record.

    Raises:
      CorpusError: the file has no records, or two columns of a Parquet file share a
        name.
    """
    if path.suffix.lower() == ".parquet":
        return list(_open_parquet(path).schema_arrow.names)
    first = next(read_records(path), None)
    if first is None:
        raise CorpusError(f"{path}: the file is empty; it holds no records.")
    return list(first[1])


def _read_csv(path: Path) -> Iterator[Record]:
    tabs = path.suffix.lower() == ".tsv"
    # A long document exceeds the default limit of 131,072 characters per field.
    csv.field_size_limit(1 << 30)
    # Inside quotes a line break is part of the field, so it is kept as it is.
    lines = read_lines(path, raises=CorpusError, keep_ends=True)
    if tabs:
        reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(lines, strict=True)
    header, begin = None, 1
    try:
        for fields in reader:
            line, begin = begin, reader.line_num + 1
            if not fields:
                continue
            if header is None:
                header = _checked_header(path, line, fields)
                continue
            if len(fields) != len(header):
                raise CorpusError(
                    f"{path}, line {line}: {len(fields)} fields where the header has "
                    f"{len(header)} ({', '.join(header)}). Write as many; a field that "
                    f"holds the separator needs quotes{' (CSV)' if tabs else ''}."
                )
            if len(header) > 1 and [fields[0].lstrip("\ufeff"), *fields[1:]] == header:
                raise CorpusError(
                    f"{path}, line {line}: the header is repeated, as in files "
                    "that were joined. Remove this line."
                )
            yield line, dict(zip(header, fields))
    except csv.Error as error:
        raise CorpusError(
            f"{path}, line {begin}: malformed CSV: {error}, in the record that begins "
            f"on this line and was read up to line {reader.line_num}. Close its "
            "quotation marks, and write those inside a field twice."
        ) from error


def _checked_header(path: Path, line: int, header: list[str]) -> list[str]:
    if len(set(header)) < len(header):
        raise CorpusError(
            f"{path}, line {line}: the header repeats a column: {header}. Rename or "
            "drop one of them."
        )
    return header


def _open_parquet(path: Path) -> "pyarrow.parquet.ParquetFile":
    import pyarrow
    import pyarrow.parquet

    with os_errors(path, "be read", CorpusError):
        path.open("rb").close()
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise _not_parquet(path, "not a readable Parquet file", error) from error


def _read_parquet(path: Path) -> Iterator[Record]:
    import pyarrow

    file, numbers = _open_parquet(path), itertools.count(1)
    names = file.schema_arrow.names
    try:
        for batch in file.iter_batches(batch_size=1024):
            for values in zip(*(column.to_pylist() for column in batch.columns)):
                yield next(numbers), dict(zip(names, values))
    except (pyarrow.ArrowException, OSError) as error:
        raise _not_parquet(path, "damaged Parquet file", error) from error


def _not_parquet(path: Path, what: str, error: Exception) -> CorpusError:
    return CorpusError(
        f"{path}: {what}: {' '.join(str(error).split())}; write it again."
    )
