"""Blocks as figures; needs the extra `plots` (matplotlib).

Every series has its own colour and, for black-and-white print, its own hatch, or marker
and dash.
"""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np

from helix_jax.atomic import write_file
from helix_jax.errors import RunError
from helix_jax.reports.blocks import Bars, Block, Curves, Matrix
from helix_jax.reports.plot_looks import (
    COLOURS,
    DASHES,
    HATCHES,
    MARKERS,
    REFERENCES,
    edge_white,
    new_figure,
    own_style,
    place_legend,
    plain_ticks,
    wrap_name,
)

STANDING = 6  # most groups of vertical bars; more are horizontal, so that names fit
LETTERS_PER_INCH = 10  # of the names next to bars
NAMES_SHARE = 0.45  # of the width of a figure with horizontal bars
CELL_INCHES, CELL_POINTS = 0.6, 10  # size of a cell, and of its number
FEW = 16  # most points of a curve whose intervals are drawn one by one


def draw(block: Block, *, titled: bool = True, widest: float = math.inf) -> Any:
    """The matplotlib figure of a block.

    Args:
      block: Bars, Matrix or Curves.
      titled: whether to draw the title in the figure.
      widest: most inches of width, such as those of a phone.

    Returns:
      A Figure; `savefig` writes PNG or SVG.

    Raises:
      HelixError: matplotlib is not installed.
      TypeError: the block is not a figure.
    """
    if isinstance(block, Bars):
        figure = _bars(block, widest)
    elif isinstance(block, Matrix):
        figure = _matrix(block, widest)
    elif isinstance(block, Curves):
        figure = _curves(block, widest)
    else:
        raise TypeError(f"draw: {type(block).__name__} is not a figure.")
    if titled:
        figure.axes[0].set_title(block.title, loc="left", fontsize=10)
    return figure


def save_figure(path: Path, block: Block) -> Path:
    """Write a block's figure as PNG or SVG, by the path's suffix; return the path."""
    kind = Path(path).suffix.removeprefix(".")
    picture = io.BytesIO()
    draw(block).savefig(
        picture, format=kind, bbox_inches="tight", metadata=_dateless(path)
    )
    write_file(path, picture.getvalue(), raises=RunError)
    return path


def _dateless(path: Path) -> dict[str, None]:
    """Metadata without the date, so that equal blocks give equal files."""
    return {"Date": None} if Path(path).suffix == ".svg" else {}


def _bars(block: Bars, widest: float) -> Any:
    groups, series = len(block.groups), len(block.series)
    upright = min(10.0, 2.0 + 1.6 * groups)
    lying = groups > STANDING or upright > widest
    if lying:
        height = 0.8 + groups * (0.14 * series + 0.12)
        figure, axes = new_figure(width=min(7.5, widest), height=height)
    else:
        figure, axes = new_figure(width=upright, height=3.4)
    places, thickness = np.arange(groups), min(0.8 / series, 0.5)
    for number, (name, values) in enumerate(block.series.items()):
        value, low, high = np.array(values, float).T
        errors = np.abs(np.stack([value - low, high - value]))
        drawn = (axes.barh if lying else axes.bar)(
            places + (number - (series - 1) / 2) * thickness,
            value,
            thickness * 0.92,
            color=COLOURS[number % len(COLOURS)],
            hatch=own_style(HATCHES, number),
            edgecolor="white",
            label=name,
            error_kw={"elinewidth": 0.9},
            **{"xerr" if lying else "yerr": errors},
        )
        edge_white(drawn.errorbar[2])
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
        axes.set_yticks(places, [wrap_name(name, letters) for name in block.groups])
        axes.set_ylim(groups - 0.5, -0.5)
        axes.set_xlabel(block.label)
    else:
        letters = int(LETTERS_PER_INCH * figure.get_figwidth() / groups)
        axes.set_xticks(places, [wrap_name(name, letters) for name in block.groups])
        axes.set_ylabel(block.label)
    place_legend(figure, axes)
    return figure


def _matrix(block: Matrix, widest: float) -> Any:
    values = np.array(block.values, float)
    height, width = values.shape
    inches = min(2.2 + 0.9 * width, widest)
    figure, axes = new_figure(width=inches, height=1.2 + 0.5 * height)
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
    figure, axes = new_figure(width=min(inches, widest), height=4.0)
    axes.set_xscale("log" if block.log_x else "linear")
    axes.set_yscale("log" if block.log_y else "linear")
    for number, (name, points) in enumerate(block.series.items()):
        columns = np.array(points, float).T
        style = {"color": COLOURS[number % len(COLOURS)]}
        if len(columns) == 4 and len(points) <= FEW:
            style["transform"] = _beside(axes, number, len(block.series))
        axes.plot(
            *columns[:2],
            linestyle=own_style(DASHES, number),
            marker=MARKERS[number % len(MARKERS)],
            markevery=max(1, len(points) // 12),
            markersize=5,
            linewidth=1.4,
            label=name,
            **style,
        )
        if len(columns) == 4:
            _intervals(axes, *columns, **style)
        for y in columns[1:]:  # shifted curves do not set the limits
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
        plain_ticks(axes.xaxis, *axes.get_xlim())
    if block.log_y:
        plain_ticks(axes.yaxis, *axes.get_ylim())
    axes.set_xlabel(block.x_label)
    axes.set_ylabel(block.y_label)
    place_legend(figure, axes)
    return figure


def _intervals(axes: Any, x: Any, y: Any, low: Any, high: Any, **style: Any) -> None:
    """Draw intervals as lines for a few points, else as a band."""
    if len(x) > FEW:
        axes.fill_between(x, low, high, alpha=0.15, linewidth=0, **style)
        return
    errors = np.abs(np.stack([y - low, high - y]))
    axes.errorbar(x, y, errors, fmt="none", elinewidth=0.8, capsize=2, **style)


def _beside(axes: Any, number: int, series: int) -> Any:
    """A shift of a series by some points, so that its intervals are not hidden."""
    from matplotlib.transforms import ScaledTranslation

    points = (number - (series - 1) / 2) * min(3.0, 20 / series)
    scale = axes.figure.dpi_scale_trans
    return axes.transData + ScaledTranslation(points / 72, 0, scale)
