"""Named numbers as cells, rows and tables.

QUANTITIES = {
    "map_error": Quantity("relative error of the map", form=".3g"),
    "accuracy": Quantity("accuracy, %", 100, 1),
}
rows = quantity_rows(numbers, QUANTITIES)
"""

from collections.abc import Callable, Mapping, Sequence
from string import Formatter
from typing import NamedTuple

from helix_jax.reports.blocks import Bars, Table
from helix_jax.reports.tables import UNITS, format_interval, show_cell, with_unit
from helix_jax.stats import Interval

Numbers = Mapping[str, float | Interval]


class Quantity(NamedTuple):
    """How a number is shown.

    Attributes:
      title: what it is called, with the unit.
      scale: factor that multiplies it.
      form: digits after the point of the value and of its interval; a format of the
        value alone, such as ".3g"; `bool` for yes or no; None leaves the number to the
        table.
    """

    title: str
    scale: float = 1
    form: int | str | type[bool] | None = None

    def cell(self, numbers: Numbers, name: str) -> object:
        """The cell of a number by name; None if there is none."""
        if isinstance(self.form, int):
            digits = self.form
            return format_interval(numbers, name, scale=self.scale, digits=digits)
        if name not in numbers:
            return None
        found = numbers[name]
        value = found.value if isinstance(found, Interval) else found
        value = value if self.scale == 1 else self.scale * value
        if self.form is None:
            return value
        return bool(value) if self.form is bool else f"{value:{self.form}}"

    def told(self, numbers: Numbers, name: str) -> str:
        """The number with its unit, such as "61.4% [51.6, 70.9]", for a sentence."""
        unit = self.title.rpartition(", ")[2]
        text = show_cell(self.cell(numbers, name))
        return with_unit(f", {unit}", text) if unit in UNITS else text

    def fill(self, sentence: str, numbers: Numbers) -> str:
        """A sentence with numbers in place of their names, such as "{test/r2}"."""
        names = [name for _, name, _, _ in Formatter().parse(sentence) if name]
        return sentence.format_map({name: self.told(numbers, name) for name in names})


def quantity_rows(
    numbers: Numbers,
    quantities: Mapping[str, Quantity],
    name_of: Callable[[str, str], str] = "{}{}".format,
    arms: Sequence[str] = ("",),
) -> list[list[object]]:
    """A row for each quantity that is present: its title, and a cell for each arm.

    Args:
      numbers: numbers of a report or a summary.
      quantities: name -> how it is shown.
      name_of: (name, arm) -> its name in `numbers`.
      arms: the arms that were measured alike.
    """
    rows = [
        [shown.title, *(shown.cell(numbers, name_of(name, arm)) for arm in arms)]
        for name, shown in quantities.items()
    ]
    return [row for row in rows if any(cell is not None for cell in row[1:])]


def quantity_table(
    title: str,
    numbers: Numbers,
    quantities: Mapping[str, Quantity],
    name_of: Callable[[str, str], str] = "{}{}".format,
    arms: Mapping[str, str] | None = None,
    *,
    corner: str = "measure",
    note: str = "",
) -> Table:
    """A table with a row for each quantity that is present and a column for each arm.

    Args:
      title, note: of the table.
      numbers, quantities, name_of: as for `quantity_rows`.
      arms: arm -> its title; None for a single one called "value".
      corner: what the rows are.
    """
    arms = {"": "value"} if arms is None else arms
    rows = quantity_rows(numbers, quantities, name_of, list(arms))
    return Table(title, [corner, *arms.values()], rows, note=note)


def arm_table(
    title: str,
    numbers: Numbers,
    arms: Mapping[str, str],
    quantities: Mapping[str, Quantity],
    name_of: Callable[[str, str], str] = "{}{}".format,
    *,
    corner: str = "map",
    note: str = "",
) -> Table:
    """A table with a row for each arm and a column for each quantity, none empty.

    Args:
      title, note: of the table.
      numbers, quantities, name_of: as for `quantity_rows`.
      arms: arm -> its title.
      corner: what the arms are.
    """
    columns = quantity_rows(numbers, quantities, name_of, list(arms))
    header, *cells = zip(*columns) if columns else ((),)
    rows = [
        [words, *own]
        for words, own in zip(arms.values(), cells)
        if any(cell is not None for cell in own)
    ]
    return Table(title, [corner, *header], rows, note=note)


def plain_bars(
    title: str,
    label: str,
    values: Mapping[str, float],
    *,
    series: str = "",
    note: str = "",
) -> Bars:
    """Bars of numbers without intervals.

    Args:
      title, label, note: of the figure.
      values: group -> value.
      series: what the values are of.
    """
    bars = [[value] * 3 for value in values.values()]
    return Bars(title, label, list(values), {series: bars}, note=note)
