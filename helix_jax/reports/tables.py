"""Tables as Markdown and LaTeX; numbers have one format, a missing value is "-"."""

import math
import numbers
import re
from collections.abc import Mapping, Sequence

import numpy as np

from helix_jax.stats import Interval
from helix_jax.stats.interval import ENDS

MISSING = "-"
UNITS = ("%", "ms", "s", "hours", "kB", "MB", "GB", "bytes", "nats", "bits", "points")
_PLAIN = re.compile(r"-?\d+(\.\d+)?")
NEAR = 100  # a column whose numbers differ by a smaller factor has equal digits


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table with aligned columns; text left, everything else right.

    Args:
      header: column names.
      rows: cells, see `show_cell`; a vertical bar is written as \\|.

    Returns:
      The table, without a final newline.

    Raises:
      ValueError: a row has another number of cells than the header.
    """
    require_rectangle(header, rows)
    header = [name.replace("|", r"\|") for name in header]
    cells = [[text.replace("|", r"\|") for text in row] for row in show_rows(rows)]
    left = text_columns(header, rows)
    widths = [
        max(3, len(name), *(len(row[i]) for row in cells)) if cells else len(name)
        for i, name in enumerate(header)
    ]

    def line(values: Sequence[str]) -> str:
        padded = (
            value.ljust(width) if is_left else value.rjust(width)
            for value, width, is_left in zip(values, widths, left)
        )
        return f"| {' | '.join(padded)} |"

    rule = (
        f":{'-' * (width - 1)}" if is_left else f"{'-' * (width - 1)}:"
        for width, is_left in zip(widths, left)
    )
    return "\n".join([line(header), f"| {' | '.join(rule)} |", *map(line, cells)])


_LATEX = str.maketrans(
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {mark: f"\\{mark}" for mark in "&%$#_{}"}
)


def latex_table(
    header: Sequence[str], rows: Sequence[Sequence[object]], *, caption: str = ""
) -> str:
    """A LaTeX table for the package booktabs; text left, everything else right.

    Args:
      header: column names.
      rows: cells, as for `markdown_table`.
      caption: above the table; empty for none.

    Returns:
      A table environment.

    Raises:
      ValueError: a row has another number of cells than the header.
    """
    require_rectangle(header, rows)
    columns = "".join("l" if left else "r" for left in text_columns(header, rows))

    def line(values: Sequence[str]) -> str:
        return " & ".join(one.translate(_LATEX) for one in values) + r" \\"

    parts = [
        r"\begin{table}",
        *([rf"\caption{{{caption.translate(_LATEX)}}}"] if caption else []),
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        line(header),
        r"\midrule",
        *map(line, show_rows(rows)),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(parts)


def read_interval(
    numbers: Mapping[str, float | Interval | None], name: str, *, scale: float = 1
) -> list[float]:
    """[value, low, high] of a number by name; NaN if there is none.

    Args:
      numbers: numbers of a report, or of a summary, where an interval is three numbers:
        name, name_low, name_high.
      name: name of the number.
      scale: multiplies all three.
    """
    found = numbers.get(name)
    if isinstance(found, Interval):
        return [scale * float(end) for end in found]
    ends = [numbers.get(f"{name}{end}") for end in ENDS]
    return [
        math.nan if end is None or isinstance(end, Interval) else scale * float(end)
        for end in ends
    ]


def format_interval(
    numbers: Mapping[str, float | Interval],
    name: str,
    *,
    scale: float = 100,
    digits: int = 1,
) -> str | None:
    """ "91.2 [90.1, 92.3]" from a number by name, see `read_interval`.

    The value alone if it has no interval, None if there is no value.
    """
    value, low, high = read_interval(numbers, name, scale=scale)
    if math.isnan(value):
        return None
    shown = [_fixed(one, digits) for one in (value, low, high)]
    if math.isnan(low) or math.isnan(high):
        return shown[0]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"


def _fixed(value: float, digits: int) -> str:
    """A value with `digits` digits after the point, fewer for a large number."""
    if abs(value) >= 1e6:
        return f"{value:.3g}"
    text = f"{value:,.{digits if abs(value) < 1e4 else 0}f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text


def format_number(value: float | numbers.Real) -> str:
    """A number as text: whole ones in full, others with four significant digits.

    Exponents are used below 1e-4 only; NaN counts as missing, infinity is spelled out.
    """
    if isinstance(value, numbers.Integral):
        return f"{int(value):,}"
    value = float(value)
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "infinite" if value > 0 else "-infinite"
    text = f"{value:.4g}"
    return f"{value:,.0f}" if "e+" in text else text


def show_cell(value: object) -> str:
    """A cell as text: numbers by `format_number`, yes or no, "-" if missing."""
    if value is None:
        return MISSING
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return format_number(value) if isinstance(value, numbers.Real) else str(value)


def show_rows(rows: Sequence[Sequence[object]]) -> list[list[str]]:
    """All cells as text; numbers of similar size in a column have equal digits."""
    columns = [_show_column(column) for column in zip(*rows)]
    return [list(row) for row in zip(*columns)] if columns else [[] for _ in rows]


def _show_column(values: Sequence[object]) -> list[str]:
    """Fractions of similar size as 0.70, 0.65; anything else cell by cell."""
    texts = [show_cell(value) for value in values]
    fractions = {
        text: value
        for value, text in zip(values, texts)
        if isinstance(value, numbers.Real) and text != MISSING
    }
    sizes = [abs(float(text)) for text in fractions if _PLAIN.fullmatch(text)]
    counted = any(isinstance(value, numbers.Integral) for value in fractions.values())
    near = 0 < max(sizes, default=0) < NEAR * min(filter(None, sizes), default=0)
    if counted or len(sizes) < len(fractions) or not near:
        return texts
    written = max(len(text.partition(".")[2]) for text in fractions)
    digits = min(written, max(3 - math.floor(math.log10(max(sizes))), 0))
    return [
        f"{fractions[text]:.{digits}f}" if text in fractions else text for text in texts
    ]


def with_unit(name: str, text: str) -> str:
    """ "accuracy 61.4% [51.6, 70.9]" from "accuracy, %" and "61.4 [51.6, 70.9]"."""
    start, _, unit = name.rpartition(", ")
    if unit not in UNITS:
        return f"{name} {text}".strip()
    value, space, interval = text.partition(" ")
    joined = value + ("" if unit == "%" else " ") + unit + space + interval
    return f"{start} {joined}".strip()


def text_columns(header: Sequence[str], rows: Sequence[Sequence[object]]) -> list[bool]:
    """For each column, whether it holds only text and is left-aligned."""
    kinds = [
        [type(row[i]) for row in rows if row[i] is not None] for i in range(len(header))
    ]
    return [all(issubclass(kind, str) for kind in column) for column in kinds]


def require_rectangle(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Raise ValueError unless every row has a cell for each column."""
    for row in rows:
        if len(row) != len(header):
            raise ValueError(
                f"a table: expected {len(header)} cells, got {len(row)}: {row}."
            )
