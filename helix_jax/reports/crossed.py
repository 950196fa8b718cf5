"""Tables and figures of everything on one list against everything on another.

accuracy = Quantity("accuracy, %", 100, 1)
columns = column_each(accuracy, splits)
cross_table("Maps", "map", maps, columns, lambda name, split: right[name][split])
cross_bars("Maps", accuracy, maps, splits, lambda name, split: right[name][split])
"""

from collections.abc import Callable, Hashable, Mapping, Sequence

from helix_jax.reports.blocks import Bars, Curves, Matrix, Table
from helix_jax.reports.quantities import Quantity
from helix_jax.reports.tables import read_interval
from helix_jax.stats import Interval

Titles = Mapping[Hashable, str]
Number = Callable[..., float | Interval | None]  # (row key, column key) -> number


def column_each(quantity: Quantity, titles: Titles) -> dict[Hashable, Quantity]:
    """A column for each title, all with numbers of the same quantity."""
    return {key: quantity._replace(title=title) for key, title in titles.items()}


def bar_of(quantity: Quantity, number: float | Interval | None) -> list[float]:
    """[value, low, high] as scaled for a figure; NaN for missing ones."""
    return read_interval({"": number}, "", scale=quantity.scale)


def cross_table(
    title: str,
    corner: str,
    rows: Titles,
    columns: Mapping[Hashable, Quantity],
    number: Callable[..., float | Interval | str | None],
    *,
    note: str = "",
) -> Table:
    """A table with a row for each name and a column for each kind of number.

    Args:
      title: title of the table.
      corner: what the rows are.
      rows: key -> the first cell of its row.
      columns: key -> how its numbers are shown.
      number: (key of a row, key of a column) -> number; None if missing; a text is
        shown unchanged.
      note: shown below the table.
    """

    def cell(row: Hashable, column: Hashable) -> object:
        value = number(row, column)
        if isinstance(value, str):
            return value
        return columns[column].cell({} if value is None else {"": value}, "")

    header = [corner, *(quantity.title for quantity in columns.values())]
    cells = [
        [name, *(cell(row, column) for column in columns)] for row, name in rows.items()
    ]
    return Table(title, header, cells, note=note)


def cross_bars(
    title: str,
    quantity: Quantity,
    groups: Titles,
    series: Titles,
    number: Number,
    *,
    references: Mapping[str, float] | None = None,
    note: str = "",
) -> Bars:
    """Groups of bars, with one bar per series in each group.

    Args:
      title: title of the figure.
      quantity: the quantity of all numbers.
      groups, series: key -> name.
      number: (key of a group, key of a series) -> number; None leaves a bar out.
      references: name -> number of a line across the bars, scaled like them.
      note: shown below the figure.
    """
    bars = {
        name: [bar_of(quantity, number(group, key)) for group in groups]
        for key, name in series.items()
    }
    lines = {
        name: bar_of(quantity, value)[0] for name, value in (references or {}).items()
    }
    names = list(groups.values())
    return Bars(title, quantity.title, names, bars, lines, note=note)


def cross_curves(
    title: str,
    x_label: str,
    quantity: Quantity,
    series: Mapping[str, Mapping[float, float | Interval | None]],
    *,
    log_x: bool = False,
    log_y: bool = False,
    marks: Mapping[str, float] | None = None,
    note: str = "",
) -> Curves:
    """A line for each name, through its points.

    Args:
      title, x_label: title of the figure, name of the x axis.
      quantity: the quantity of all numbers.
      series: name -> x -> number.
      log_x, log_y, marks, note: as in `Curves`.
    """
    points = {
        name: [[x, *bar_of(quantity, number)] for x, number in numbers.items()]
        for name, numbers in series.items()
    }
    return Curves(
        title,
        x_label,
        quantity.title,
        points,
        log_x=log_x,
        log_y=log_y,
        marks=marks or {},
        note=note,
    )


def cross_matrix(
    title: str,
    label: str,
    rows: Titles,
    columns: Titles,
    number: Callable[..., float],
    *,
    marks: Sequence[Sequence[str]] = (),
    limits: tuple[float, float] = (0.0, 1.0),
    row_label: str = "",
    column_label: str = "",
    note: str = "",
) -> Matrix:
    """A number for each pair of two lists, as a heat map.

    Args:
      title, label: title of the map, name of its numbers.
      rows, columns: key -> name.
      number: (key of a row, key of a column) -> number; NaN leaves a cell empty.
      marks, limits, row_label, column_label, note: as in `Matrix`.
    """
    values = [[number(row, column) for column in columns] for row in rows]
    names = list(rows.values()), list(columns.values())
    return Matrix(
        title,
        label,
        *names,
        values,
        marks=marks,
        limits=limits,
        row_label=row_label,
        column_label=column_label,
        note=note,
    )
