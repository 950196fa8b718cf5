"""Which columns of a table hold the text, its pair, the label and the id.

A row of a pair task is one text: its two columns joined by a line break, the first
above the second. Its document is the first text, since several second texts usually
share a first one (MNLI has three hypotheses per premise, RTE several per paragraph):
rows that share it never fall into different splits.

If several columns have customary names, the first in the order below is taken, a pair
before a single text.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from helix_jax.errors import CorpusError
from helix_jax.text.hashing import content_key
from helix_jax.text.ids import is_text, name_in_id, read_id, show_value
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
    columns: Iterable[str],
    place: str,
    *,
    text_column: str | None = None,
    pair_column: str | None = None,
    label_column: str | None = None,
    id_column: str | None = None,
) -> Columns:
    """Take the requested columns, or those with a customary name.

    Args:
      columns: column names of the table.
      place: file or data set, for messages.
      text_column: column of the text (of the first text of a pair).
      pair_column: column of the second text of a pair.
      label_column: column of the label.
      id_column: column of unique ids; without it rows are named by their place.

    Returns:
      The columns.

    Raises:
      CorpusError: a requested column is absent, two columns have the same name, one is
        nearly a customary name, or none has a customary name for a text; the message
        lists the columns found.
    """
    columns = list(columns)
    listed = ", ".join(map(repr, columns)) or "none"
    if len(set(columns)) < len(columns):
        twice = next(column for column in columns if columns.count(column) > 1)
        raise CorpusError(
            f"{place}: two columns are called {twice!r}; columns found: {listed}. "
            "Rename or drop one of them."
        )
    asked = {
        "text_column": text_column,
        "pair_column": pair_column,
        "label_column": label_column,
        "id_column": id_column,
    }
    for flag, column in asked.items():
        if column is not None and column not in columns:
            raise CorpusError(
                f"{place}: {flag}={column!r} is not a column; columns found: {listed}."
            )
    texts = [one for one in (text_column, pair_column) if one is not None]
    if len(set(texts)) < len(texts) or label_column in texts:
        raise CorpusError(
            f"{place}: text_column, pair_column and label_column must be different "
            f"columns, got {', '.join(f'{k}={v!r}' for k, v in asked.items() if v)}."
        )
    others = [column for column in columns if column not in texts]
    label = label_column or _customary(LABEL_COLUMNS, others, place, "label_column")
    if text_column is None and pair_column is not None:
        raise CorpusError(
            f"{place}: pair_column={pair_column!r} needs text_column too; columns "
            f"found: {listed}."
        )
    if text_column is not None:
        text = (text_column,) if pair_column is None else (text_column, pair_column)
        return Columns(text, label, id_column, pair=pair_column is not None)
    for pair in PAIR_COLUMNS:
        if set(pair) <= set(columns):
            return Columns(pair, label, id_column, pair=True)
    column = _customary(TEXT_COLUMNS, columns, place, "text_column")
    if column is not None:
        return Columns((column,), label, id_column)
    mark = next((m for m in ";\t|" if len(columns) == 1 and m in columns[0]), None)
    raise CorpusError(
        f"{place}: no column has a customary name for a text "
        f"({', '.join(TEXT_COLUMNS)}, or a pair such as text_a and text_b); columns "
        f"found: {listed}. "
        + (
            "Name it with text_column; the first line of a CSV or TSV file must be its "
            "header."
            if mark is None
            else f"The fields seem to be separated by {mark!r}: write the file with "
            "commas, or with tabs under a name that ends in .tsv."
        )
    )


def _customary(
    names: tuple[str, ...], columns: list[str], place: str, flag: str
) -> str | None:
    """The first customary name that is a column; a near miss is refused."""
    column = next((name for name in names if name in columns), None)
    for near in columns:
        folded = near.strip().lower()
        if near == folded or folded not in names:
            continue
        # "Label" alone is another column; beside "label", or with a space, a slip.
        if folded == column or (column is None and near != near.strip()):
            raise CorpusError(
                f"{place}: the column {near!r} is almost named {folded!r}; columns "
                f"found: {', '.join(map(repr, columns))}. Rename it, or name the "
                f"right column with {flag}."
            )
    return column


def rows_from_records(
    records: Iterable[tuple[int, Mapping[str, Any]]],
    columns: Columns,
    *,
    name: str,
    part: str,
    place: str,
    unit: str = "row",
) -> Iterator[Row]:
    """Turn records into rows.

    Args:
      records: (number, column -> value), in a fixed order.
      columns: which columns to use.
      name: name of the corpus, the beginning of the ids.
      part: official split or file, the next piece of the ids; may be "".
      place: file or data set, for messages.
      unit: what the numbers count, "line" or "row".

    Returns:
      An iterator over rows; a row without text has text "".

    Raises:
      CorpusError: a value is not of the kind that its column should hold, or a
        label is in a column that the first record lacks.
    """
    prefix = f"{name_in_id(part)}/" if part else ""
    name = name_in_id(name)
    for count, (number, record) in enumerate(records):
        where = f"{place}, {unit} {number}"
        first = ""
        if columns.template is not None:
            text = columns.template.format(**record).strip()
        else:
            pieces = [text_of(record, column, where) for column in columns.text]
            first = pieces[0]
            text = "\n".join(piece for piece in pieces if piece)
        if columns.id is not None:
            row_id = record.get(columns.id)
            if row_id is None or row_id == "":
                raise CorpusError(f"{where}: no value in id column {columns.id!r}.")
            row_id = read_id(row_id, where, raises=CorpusError)
        elif columns.pair:
            document = content_key(first)[:8].hex()
            row_id = f"{name}/{document}#{prefix}{count}"
        else:
            row_id = f"{name}/{prefix}{count}"
        if columns.label is None:
            _require_no_label(record, columns.text, where)
            yield Row(row_id, text)
        else:
            label = read_label(record.get(columns.label), columns.label, where)
            yield Row(row_id, text, label)


def _require_no_label(
    record: Mapping[str, Any], texts: tuple[str, ...], where: str
) -> None:
    """Refuse a label column that the first record, which set the columns, lacks."""
    others = (one for one in LABEL_COLUMNS if one not in texts)
    late = next((column for column in others if column in record), None)
    if late is not None:
        raise CorpusError(
            f"{where}: has a column {late!r} that the first record lacks. Write it in "
            f"every record, or say label_column={late!r}."
        )


def text_of(record: Mapping[str, Any], column: str, where: str) -> str:
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
            f"{where}: column {column!r} should hold text, found {show_value(value)}."
        )
    if not is_text(value):  # half of a surrogate pair, which no tokenizer takes
        value = value.encode("utf-8", "replace").decode()
    return value.strip()


def read_label(value: Any, column: str, where: str) -> Label:
    """The label as it is, hidden ones (None, "" and -1) as None."""
    if isinstance(value, str | int | float) and value in ("", -1, "-1"):
        return None
    whole = isinstance(value, int)
    if value is None or whole or (isinstance(value, str) and is_text(value)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise CorpusError(
        f"{where}: label column {column!r} should hold a class name, a class number or "
        f"a finite score, found {show_value(value)}."
    )
