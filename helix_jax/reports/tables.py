"""Markdown tables."""

from collections.abc import Mapping, Sequence


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table whose columns line up; text left, everything else right.

    Args:
      header: column names.
      rows: cells; a float is shown with four significant digits.

    Returns:
      The table, without a final newline.

    Raises:
      ValueError: a row has another number of cells than the header.
    """
    for row in rows:
        if len(row) != len(header):
            raise ValueError(
                f"markdown_table: expected {len(header)} cells, got {len(row)}: {row}."
            )
    cells = [[_cell(value) for value in row] for row in rows]
    left = [all(isinstance(row[i], str) for row in rows) for i in range(len(header))]
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


def format_interval(
    summary: Mapping[str, float], name: str, *, scale: float = 100
) -> str:
    """ "91.2 [90.1, 92.3]" from a summary's name, name_low and name_high."""
    value, low, high = (summary[f"{name}{end}"] for end in ("", "_low", "_high"))
    return f"{scale * value:.1f} [{scale * low:.1f}, {scale * high:.1f}]"


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
