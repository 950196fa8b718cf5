"""What a run has to show: tables, figures and samples as plain data.

An experiment writes its blocks to WORKDIR/report.json; whoever makes a page, a LaTeX
table or a plot reads them there and knows nothing of the experiment.
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
    """Rows of cells; numbers stay numbers until they are shown."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Bars:
    """Groups of bars with intervals.

    Attributes:
      label: of the values, with their unit.
      groups: names along the axis.
      series: name -> (value, low, high) of each group; NaN leaves a bar out.
      references: name -> value of a line across, such as a ceiling or chance.
    """

    title: str
    label: str
    groups: Sequence[str]
    series: Mapping[str, Sequence[Sequence[float]]]
    references: Mapping[str, float] = dataclasses.field(default_factory=dict)
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Matrix:
    """Numbers with names on both sides.

    Attributes:
      values: a row for each name of `rows`; NaN leaves a cell empty.
      label: what the numbers are.
      marks: of each cell, written after its number, such as "*"; empty for none.
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
      marks: name -> x of an upright line.
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
    """The blocks of a work directory; a run that wrote none shows its summary.

    Raises:
      RunError: no run that has ended, or blocks that are not of this format.
    """
    folder = local_path(folder, "the folder of a report")
    path = folder / FILE
    if not (folder / "DONE").is_file():
        raise RunError(
            f"{folder} is not the work directory of an experiment that has ended (it "
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
    """JSON without NaN and infinity, which become null, and without numpy's types."""
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
