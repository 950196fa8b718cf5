"""The results of a run as plain data: tables, figures and samples.

An experiment writes its blocks to WORKDIR/report.json; pages, LaTeX tables and plots
are made from that file alone, without knowing the experiment.
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from helix_jax.atomic import write_file
from helix_jax.errors import RunError
from helix_jax.paths import local_path
from helix_jax.textfile import read_json

FILE = "report.json"


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of cells; numbers stay numbers until they are displayed."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Bars:
    """Groups of bars with intervals.

    Attributes:
      label: name of the values, with their unit.
      groups: names along the axis.
      series: name -> (value, low, high) of each group; NaN leaves a bar out.
      references: name -> value of a line across the bars, such as a ceiling or chance.
    """

    title: str
    label: str
    groups: Sequence[str]
    series: Mapping[str, Sequence[Sequence[float]]]
    references: Mapping[str, float] = dataclasses.field(default_factory=dict)
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Matrix:
    """Numbers with named rows and columns.

    Attributes:
      values: a row for each name of `rows`; NaN leaves a cell empty.
      label: what the numbers are.
      marks: for each cell, written after its number, such as "*"; empty for none.
      limits: ends of the colour scale.
      row_label, column_label: what the names are.
    """

    title: str
    label: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: Sequence[Sequence[float]]
    marks: Sequence[Sequence[str]] = ()
    limits: tuple[float, float] = (0.0, 1.0)
    row_label: str = ""
    column_label: str = ""
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Curves:
    """Lines over a common axis.

    Attributes:
      x_label, y_label: with units.
      series: name -> points (x, y) or (x, y, low, high).
      log_x, log_y: logarithmic axes.
      diagonal: also draw y = x, the chance line of an ROC curve.
      marks: name -> x of a vertical line.
    """

    title: str
    x_label: str
    y_label: str
    series: Mapping[str, Sequence[Sequence[float]]]
    log_x: bool = False
    log_y: bool = False
    diagonal: bool = False
    marks: Mapping[str, float] = dataclasses.field(default_factory=dict)
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Samples:
    """Texts side by side: each item maps a name (prompt, native, mapped) to a text."""

    title: str
    items: Sequence[Mapping[str, str]]
    note: str = ""


KINDS = {kind.__name__: kind for kind in (Table, Bars, Matrix, Curves, Samples)}
Block = Table | Bars | Matrix | Curves | Samples


def save_blocks(folder: Path, blocks: Sequence[Block]) -> Path:
    """Write the blocks of a run to its work directory."""
    records = [
        {"kind": type(block).__name__, **dataclasses.asdict(block)} for block in blocks
    ]
    path = local_path(folder, "the folder of a report") / FILE
    write_file(path, json.dumps(_plain(records), indent=1) + "\n", raises=RunError)
    return path


def load_blocks(folder: Path) -> list[Block]:
    """The blocks of a work directory; if its run wrote none, its summary as a table.

    Raises:
      RunError: the folder holds no finished run, or blocks of another format.
    """
    folder = local_path(folder, "the folder of a report")
    path = folder / FILE
    if not (folder / "DONE").is_file():
        raise RunError(
            f"{folder} is not the work directory of a finished experiment (it "
            "has no DONE); run it first, or give another folder."
        )
    if not path.is_file():
        summary = read_json(folder / "summary.json", raises=RunError)
        return [Table("Summary", ["name", "value"], list(summary.items()))]
    try:
        records = read_json(path, raises=RunError)
        return [KINDS[record.pop("kind")](**record) for record in records]
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{path} is damaged ({type(error).__name__}: {error}); run the experiment "
            "again in a new work directory."
        ) from error


def _plain(value: Any) -> Any:
    """JSON-able data: NaN and infinity become None, numpy's types plain ones."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, str) or value is None or isinstance(value, bool):
        return value
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, Sequence):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
