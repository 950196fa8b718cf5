"""Which columns of a table hold the text, its pair, the label and the id.

Pair tasks are one text: the two columns joined by a line break, the first above the
second. Their document is the first text, since several second texts are usually asked
about one (MNLI has three hypotheses a premise, RTE several a paragraph): rows that
share it never fall into different splits.
"""

import dataclasses
import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from helix_jax.errors import CorpusError
from helix_jax.text.rows import Label, Row

PAIR_TEMPLATE = "{text_a}\n{text_b}"
PAIR_COLUMNS = (
    ("text_a", "text_b"),
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
)
TEXT_COLUMNS = ("text", "sentence", "content", "question", "document", "body", "review")
LABEL_COLUMNS = ("label", "labels", "class", "category", "target", "topic")


@dataclasses.dataclass(frozen=True)
class Columns:
    """Column names; a row's text is its text columns, one below the other.

    Attributes:
      text: one column, two of a pair task, or several to be joined by line breaks.
      label: label column, or None.
      id: id column, or None to name rows by their place.
      pair: whether the document of a row is its first text column.
      template: a format string over the row, used in place of joining `text`.
    """

    text: tuple[str, ...]
    label: str | None = None
    id: str | None = None
    pair: bool = False
    template: str | None = None


def choose_columns(
    found: Iterable[str],
    place: str,
    *,
    text_column: str | None = None,
    pair_column: str | None = None,
    label_column: str | None = None,
    id_column: str | None = None,
) -> Columns:
    """Take the columns that were asked for, or those with a customary name.

    Args:
      found: column names of the table.
      place: file or data set, for messages.
      text_column: column of the text (of the first text of a pair).
      pair_column: column of the second text of a pair.
      label_column: column of the label.
      id_column: column of unique ids; without it rows are named by their place.

    Returns:
      The columns.

    Raises:
      CorpusError: a column that was asked for is absent, or none has a customary
        name for a text; the message lists the columns found.
    """
    found = list(found)
    listed = ", ".join(map(repr, found)) or "none"
    asked = {
        "text_column": text_column,
        "pair_column": pair_column,
        "label_column": label_column,
        "id_column": id_column,
    }
    for flag, column in asked.items():
        if column is not None and column not in found:
            raise CorpusError(
                f"{place}: {flag}={column!r} is not a column; columns found: {listed}."
            )
    label = label_column or next((c for c in LABEL_COLUMNS if c in found), None)
    if text_column is None and pair_column is not None:
        raise CorpusError(
            f"{place}: pair_column={pair_column!r} needs text_column too; columns "
            f"found: {listed}."
        )
    if text_column is not None:
        text = (text_column,) if pair_column is None else (text_column, pair_column)
        return Columns(text, label, id_column, pair=pair_column is not None)
    for pair in PAIR_COLUMNS:
        if set(pair) <= set(found):
            return Columns(pair, label, id_column, pair=True)
    for column in TEXT_COLUMNS:
        if column in found:
            return Columns((column,), label, id_column)
    raise CorpusError(
        f"{place}: no column has a customary name for a text "
        f"({', '.join(TEXT_COLUMNS)}, or a pair such as text_a and text_b); columns "
        f"found: {listed}. Name it with text_column; the first line of a CSV or TSV "
        f"file must be its header."
    )


def rows_from_records(
    records: Iterable[tuple[int, Mapping[str, Any]]],
    columns: Columns,
    *,
    name: str,
    part: str,
    place: str,
) -> Iterator[Row]:
    """Turn records into rows.

    Args:
      records: (line number, column -> value), in a fixed order.
      columns: which columns to use.
      name: name of the corpus, the beginning of the ids.
      part: official split or file, the next piece of the ids; may be "".
      place: file or data set, for messages.

    Returns:
      An iterator over rows; a row without text has text "".

    Raises:
      CorpusError: a value is not of the kind that its column should hold.
    """
    prefix = f"{part}/" if part else ""
    for count, (line, record) in enumerate(records):
        where = f"{place}, line {line}"
        first = ""
        if columns.template is not None:
            text = columns.template.format(**record).strip()
        else:
            pieces = [_text(record, column, where) for column in columns.text]
            first = pieces[0]
            text = "\n".join(piece for piece in pieces if piece)
        if columns.id is not None:
            row_id = record.get(columns.id)
            if row_id is None or row_id == "":
                raise CorpusError(f"{where}: no value in id column {columns.id!r}.")
            row_id = str(row_id)
        elif columns.pair:
            folded = " ".join(first.lower().split()).encode()
            document = hashlib.sha256(folded).hexdigest()[:16]
            row_id = f"{name}/{document}#{prefix}{count}"
        else:
            row_id = f"{name}/{prefix}{count}"
        label = None if columns.label is None else record.get(columns.label)
        yield Row(row_id, text, _label(label, columns.label, where))


def _text(record: Mapping[str, Any], column: str, where: str) -> str:
    if column not in record:
        raise CorpusError(
            f"{where}: no column {column!r}; columns found: "
            f"{', '.join(map(repr, record)) or 'none'}."
        )
    value = record[column]
    if value is None:
        return ""
    if not isinstance(value, str):
        raise CorpusError(
            f"{where}: column {column!r} should hold text, found {value!r}."
        )
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which no tokenizer takes
        value = value.encode("utf-8", "replace").decode()
    return value.strip()


def _label(value: Any, column: str | None, where: str) -> Label:
    """The label with hidden ones (None, "", -1) as None and booleans as integers."""
    if value is None or value in ("", -1, "-1"):
        return None
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | str) or (
        isinstance(value, float) and math.isfinite(value)
    ):
        return value
    raise CorpusError(
        f"{where}: label column {column!r} should hold a class name, a class number or "
        f"a finite score, found {value!r}."
    )
