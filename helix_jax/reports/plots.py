"""Blocks as figures; needs the extra `plots` (matplotlib).

Every series has a colour and, for print in black and white, a hatch or a marker and a
dash of its own.
"""

import io
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from helix_jax.atomic import write_file
from helix_jax.errors import HelixError, RunError
from helix_jax.reports.blocks import Bars, Block, Curves, Matrix

# Colours that stay apart for colour-blind readers (Okabe and Ito 2008).
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#999999",
    "#56B4E9",
    "#E69F00",
    "#000000",
)
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "---", "ooo", "+++")
MARKERS = "osD^vP*X<>hp"
DASHES = ("-", "--", "-.", ":")
REFERENCES = ("--", ":", "-.", (0, (8, 3)))
STANDING = 6  # groups of bars that stand; more lie, so that their names fit
LETTERS_PER_INCH = 10  # of the names beside bars
NAMES_SHARE = 0.45  # of the width of lying bars
TWO_COLUMNS_INCHES = 4.6  # of a figure whose legend has two columns
CELL_INCHES, CELL_POINTS = 0.6, 10  # a cell whose number has so many points
FEW = 16  # points of a curve whose intervals are drawn one by one


def draw(block: Block, *, titled: bool = True, widest: float = math.inf) -> Any:
    """The matplotlib figure of a block.

    Args:
      block: Bars, Matrix or Curves.
      titled: whether the title stands in the figure, or around it.
      widest: inches that the figure may be wide, such as those of a phone.

    Returns:
      A Figure; `savefig` writes PNG or SVG.

    Raises:
      HelixError: matplotlib is not installed.
      TypeError: a block that is no figure.
    """
    for kind, function in ((Bars, _bars), (Matrix, _matrix), (Curves, _curves)):
        if isinstance(block, kind):
            figure = function(block, widest)
            if titled:
                figure.axes[0].set_title(block.title, loc="left", fontsize=10)
            return figure
    raise TypeError(f"draw: {type(block).__name__} is no figure.")


def save_figure(path: Path, block: Block) -> Path:
    """Write a block's figure as the PNG or SVG that the path names; returns it."""
    kind = Path(path).suffix.removeprefix(".")
    picture = io.BytesIO()
    draw(block).savefig(
        picture, format=kind, bbox_inches="tight", metadata=_dateless(path)
    )
    write_file(path, picture.getvalue(), raises=RunError)
    return path


def _dateless(path: Path) -> dict[str, None]:
    """Without the date, equal blocks give equal files."""
    return {"Date": None} if Path(path).suffix == ".svg" else {}


def _bars(block: Bars, widest: float) -> Any:
    groups, series = len(block.groups), len(block.series)
    upright = min(10.0, 2.0 + 1.6 * groups)
    lying = groups > STANDING or upright > widest
    if lying:
        height = 0.8 + groups * (0.14 * series + 0.12)
        figure, axes = _figure(width=min(7.5, widest), height=height)
    else:
        figure, axes = _figure(width=upright, height=3.4)
    places, thickness = np.arange(groups), min(0.8 / series, 0.5)
    for number, (name, values) in enumerate(block.series.items()):
        value, low, high = np.array(values, float).T
        errors = np.abs(np.stack([value - low, high - value]))
        drawn = (axes.barh if lying else axes.bar)(
            places + (number - (series - 1) / 2) * thickness,
            value,
            thickness * 0.92,
            color=COLOURS[number % len(COLOURS)],
            hatch=_own(HATCHES, number),
            edgecolor="white",
            label=name,
            error_kw={"elinewidth": 0.9},
            **{"xerr" if lying else "yerr": errors},
        )
        _edge_white(drawn.errorbar[2])
    across = axes.axvline if lying else axes.axhline
    for number, (name, value) in enumerate(block.references.items()):
        across(
            value,
            color="black",
            linewidth=1,
            linestyle=REFERENCES[number % 4],
            label=name,
        )
    if lying:
        letters = int(LETTERS_PER_INCH * figure.get_figwidth() * NAMES_SHARE)
        axes.set_yticks(places, [_wrapped(name, letters) for name in block.groups])
        axes.set_ylim(groups - 0.5, -0.5)
        axes.set_xlabel(block.label)
    else:
        letters = int(LETTERS_PER_INCH * figure.get_figwidth() / groups)
        axes.set_xticks(places, [_wrapped(name, letters) for name in block.groups])
        axes.set_ylabel(block.label)
    _legend(figure, axes)
    return figure


def _wrapped(name: str, letters: int) -> str:
    """A name in lines of at most so many letters, where its words allow it."""
    lines = name.split("\n")
    return "\n".join(
        textwrap.fill(line, max(letters, 8), break_long_words=False) for line in lines
    )


def _matrix(block: Matrix, widest: float) -> Any:
    values = np.array(block.values, float)
    height, width = values.shape
    inches = min(2.2 + 0.9 * width, widest)
    figure, axes = _figure(width=inches, height=1.2 + 0.5 * height)
    points = min(CELL_POINTS, CELL_POINTS * (inches - 1.9) / width / CELL_INCHES)
    low, high = block.limits
    image = axes.imshow(values, vmin=low, vmax=high, cmap="Blues", aspect="auto")
    for row, column in np.ndindex(height, width):
        number = values[row, column]
        if np.isnan(number):
            continue
        mark = block.marks[row][column] if block.marks else ""
        dark = (number - low) / ((high - low) or 1) > 0.6
        axes.text(
            column,
            row,
            f"{number:.2f}{mark}",
            ha="center",
            va="center",
            fontsize=points,
            color="white" if dark else "black",
        )
    turned = {"rotation": 20, "ha": "right"} if max(map(len, block.columns)) > 9 else {}
    axes.set_xticks(range(width), block.columns, **turned)
    axes.set_yticks(range(height), block.rows)
    axes.set_xlabel(block.column_label)
    axes.set_ylabel(block.row_label)
    figure.colorbar(image, shrink=0.8, label=block.label)
    return figure


def _curves(block: Curves, widest: float) -> Any:
    inches = 4.8 if block.diagonal else 6.4
    figure, axes = _figure(width=min(inches, widest), height=4.0)
    axes.set_xscale("log" if block.log_x else "linear")
    axes.set_yscale("log" if block.log_y else "linear")
    for number, (name, points) in enumerate(block.series.items()):
        columns = np.array(points, float).T
        style = {"color": COLOURS[number % len(COLOURS)]}
        if len(columns) == 4 and len(points) <= FEW:
            style["transform"] = _beside(axes, number, len(block.series))
        axes.plot(
            *columns[:2],
            linestyle=_own(DASHES, number),
            marker=MARKERS[number % len(MARKERS)],
            markevery=max(1, len(points) // 12),
            markersize=5,
            linewidth=1.4,
            label=name,
            **style,
        )
        if len(columns) == 4:
            _intervals(axes, *columns, **style)
        for y in columns[1:]:  # a curve that was moved does not count by itself
            axes.update_datalim(np.stack([columns[0], y], axis=1))
    axes.autoscale_view()
    if block.diagonal:
        axes.set_aspect("equal")
        axes.plot(
            [0, 1], [0, 1], color="black", linestyle=":", linewidth=1, label="chance"
        )
    for number, (name, x) in enumerate(block.marks.items()):
        axes.axvline(
            x, color="black", linewidth=1, linestyle=REFERENCES[number % 4], label=name
        )
    if block.log_x:
        _plain_ticks(axes.xaxis, *axes.get_xlim())
    if block.log_y:
        _plain_ticks(axes.yaxis, *axes.get_ylim())
    axes.set_xlabel(block.x_label)
    axes.set_ylabel(block.y_label)
    _legend(figure, axes)
    return figure


def _intervals(axes: Any, x: Any, y: Any, low: Any, high: Any, **style: Any) -> None:
    """A line at each of a few points, else a band."""
    if len(x) > FEW:
        axes.fill_between(x, low, high, alpha=0.15, linewidth=0, **style)
        return
    errors = np.abs(np.stack([y - low, high - y]))
    axes.errorbar(x, y, errors, fmt="none", elinewidth=0.8, capsize=2, **style)


def _beside(axes: Any, number: int, series: int) -> Any:
    """Moves a series by some points, so that its intervals are not behind others."""
    from matplotlib.transforms import ScaledTranslation

    points = (number - (series - 1) / 2) * min(3.0, 20 / series)
    scale = axes.figure.dpi_scale_trans
    return axes.transData + ScaledTranslation(points / 72, 0, scale)


def _edge_white(lines: Any) -> None:
    """Dark lines stay visible on dark bars."""
    from matplotlib.patheffects import withStroke

    for one in lines:
        one.set_path_effects([withStroke(linewidth=2.4, foreground="white")])


def _plain_ticks(axis: Any, low: float, high: float) -> None:
    """Within three decades a logarithmic axis has plain numbers at 1, 2 and 5."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if high < 1000 * low:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def _own(styles: Sequence[str], number: int) -> str:
    """The style of a series; another one where its colour comes again."""
    return styles[(number + number // len(COLOURS)) % len(styles)]


def _legend(figure: Any, axes: Any) -> None:
    """Names below the axes, where there are several."""
    names = axes.get_legend_handles_labels()[1]
    if len(names) < 2:
        return
    columns = 2 if figure.get_figwidth() >= TWO_COLUMNS_INCHES else 1
    figure.set_figheight(figure.get_figheight() + 0.18 * -(-len(names) // columns))
    figure.legend(frameon=False, fontsize=8, ncols=columns, loc="outside lower left")


def _figure(*, width: float, height: float) -> tuple[Any, Any]:
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise HelixError(
            "plots need matplotlib; install it with: pip install 'helix_jax[plots]'"
        ) from error
    matplotlib.rcParams["svg.hashsalt"] = "helix_jax"  # ids in an SVG: always the same
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
