"""Tables and text files as streams of records; errors name the file and the line.

CSV has quotes and a header line; TSV has a header line and no quoting (a quotation
mark is a character like any other, as in GLUE); JSONL has one object a line; Parquet
is read batch by batch; a .txt file is cut into texts by `paragraphs`. All are UTF-8.
"""

import csv
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from helix_jax.errors import CorpusError
from helix_jax.text.paragraphs import paragraph_texts

TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
SUFFIXES = (*TABLES, ".txt")

# Line number from 1, then column -> value.
Record = tuple[int, dict[str, Any]]


def read_records(path: Path) -> Iterator[Record]:
    """Stream the records of a CSV, TSV, JSONL or Parquet file.

    Args:
      path: file; its suffix says what it is.

    Yields:
      Line number (row number for Parquet) and a dictionary of columns.

    Raises:
      CorpusError: the file is missing, not UTF-8, malformed, or of another kind.
    """
    readers = {
        ".csv": _read_csv,
        ".tsv": _read_csv,
        ".jsonl": _read_jsonl,
        ".parquet": _read_parquet,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise CorpusError(
            f"{path}: cannot read {path.suffix or 'a file without suffix'!r}; text "
            f"comes from {', '.join(SUFFIXES)} files."
        )
    yield from reader(path)


def read_paragraphs(path: Path) -> Iterator[tuple[int, int, str]]:
    """Stream the texts of a .txt file: (document, number in it, text)."""
    with open_text(path) as lines:
        yield from paragraph_texts(_decoded(lines, path))


def column_names(path: Path) -> list[str]:
    """Column names of a table, from its header or its first record.

    Raises:
      CorpusError: the file has no records.
    """
    if path.suffix.lower() == ".parquet":
        names = _open_parquet(path).schema_arrow.names
    else:
        first = next(read_records(path), None)
        if first is None:
            raise CorpusError(f"{path}: the file is empty; it holds no records.")
        names = list(first[1])
    return names


def open_text(path: Path) -> TextIO:
    """Open a UTF-8 file, with or without a byte order mark."""
    try:
        return open(path, encoding="utf-8-sig", newline=None)
    except OSError as error:
        raise CorpusError(f"{path}: cannot be opened: {error.strerror}.") from error


def _decoded(lines: TextIO, path: Path) -> Iterator[str]:
    try:
        yield from lines
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path}: not UTF-8 ({error.reason}, byte 0x{error.object[error.start]:02x}"
            f"); convert it, for example with: iconv -f latin1 -t utf-8"
        ) from error


def _read_jsonl(path: Path) -> Iterator[Record]:
    with open_text(path) as lines:
        for number, line in enumerate(_decoded(lines, path), start=1):
            if line.isspace():
                continue
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise CorpusError(
                    f"{path}, line {number}: malformed JSON: {error.msg} at column "
                    f"{error.colno}. Each line must be one whole JSON object."
                ) from error
            if not isinstance(record, dict):
                raise CorpusError(
                    f"{path}, line {number}: expected a JSON object such as "
                    f'{{"text": ..., "label": ...}}, found {type(record).__name__}.'
                )
            yield number, record


def _read_csv(path: Path) -> Iterator[Record]:
    tabs = path.suffix.lower() == ".tsv"
    # The default limit of 131,072 characters a field is below a long document.
    csv.field_size_limit(1 << 30)
    with open_text(path) as file:
        lines = _decoded(file, path)
        if tabs:
            reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        else:
            reader = csv.reader(lines, strict=True)
        try:
            header = next(reader, None)
            if header is None:
                return
            if len(set(header)) < len(header):
                raise CorpusError(f"{path}: the header repeats a column: {header}.")
            for fields in reader:
                if not fields:
                    continue
                if len(fields) != len(header):
                    raise CorpusError(
                        f"{path}, line {reader.line_num}: {len(fields)} fields where "
                        f"the header has {len(header)} ({', '.join(header)})."
                    )
                yield reader.line_num, dict(zip(header, fields))
        except csv.Error as error:
            raise CorpusError(
                f"{path}, line {reader.line_num}: malformed CSV: {error}."
            ) from error


def _open_parquet(path: Path):
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise CorpusError(f"{path}: not a readable Parquet file: {error}.") from error


def _read_parquet(path: Path) -> Iterator[Record]:
    import pyarrow

    numbers = itertools.count(1)
    try:
        for batch in _open_parquet(path).iter_batches(batch_size=1024):
            for record in batch.to_pylist():
                yield next(numbers), record
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise CorpusError(f"{path}: damaged Parquet file: {error}.") from error
