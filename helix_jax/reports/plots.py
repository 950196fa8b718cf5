"""Blocks as figures; needs the extra `plots` (matplotlib).

Every series has a colour and, for print in black and white, a hatch or a marker and a
dash of its own.
"""

from pathlib import Path
from typing import Any

import numpy as np

from helix_jax.errors import HelixError
from helix_jax.reports.blocks import Bars, Block, Curves, Matrix

# Colours that stay apart for colour-blind readers (Okabe and Ito 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#999999", "#56B4E9", "#E69F00",
           "#000000")  # fmt: skip
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "---", "ooo", "+++")
MARKERS = "osD^vP*X"
DASHES = ("-", "--", "-.", ":")


def draw(block: Block, *, titled: bool = True) -> Any:
    """The matplotlib figure of a block.

    Args:
      block: Bars, Matrix or Curves.
      titled: whether the title stands in the figure, or around it.

    Returns:
      A Figure; `savefig` writes PNG or SVG.

    Raises:
      HelixError: matplotlib is not installed.
      TypeError: a block that is no figure.
    """
    for kind, function in ((Bars, _bars), (Matrix, _matrix), (Curves, _curves)):
        if isinstance(block, kind):
            figure = function(block)
            if titled:
                figure.axes[0].set_title(block.title, loc="left", fontsize=10)
            return figure
    raise TypeError(f"draw: {type(block).__name__} is no figure.")


def save_figure(path: Path, block: Block) -> Path:
    """Write a block's figure as the PNG or SVG that the path names; returns it."""
    draw(block).savefig(path, bbox_inches="tight", metadata=_dateless(path))
    return path


def _dateless(path: Path) -> dict[str, None]:
    """Without the date, equal blocks give equal files."""
    return {"Date": None} if Path(path).suffix == ".svg" else {}


def _bars(block: Bars) -> Any:
    figure, axes = _figure(width=2.0 + 1.6 * len(block.groups), height=3.8)
    width = 0.8 / len(block.series)
    for number, (name, values) in enumerate(block.series.items()):
        value, low, high = np.array(values, float).T
        middle = (len(block.series) - 1) / 2
        axes.bar(
            np.arange(len(block.groups)) + (number - middle) * width,
            value,
            width * 0.92,
            yerr=np.abs(np.stack([value - low, high - value])),
            color=COLOURS[number % len(COLOURS)],
            hatch=HATCHES[number % len(HATCHES)],
            edgecolor="white",
            label=name,
            error_kw={"elinewidth": 0.8},
        )
    axes.set_xticks(np.arange(len(block.groups)), block.groups)
    axes.set_ylabel(block.label)
    _legend(axes)
    return figure


def _matrix(block: Matrix) -> Any:
    values = np.array(block.values, float)
    height, width = values.shape
    figure, axes = _figure(width=1.8 + 0.9 * width, height=1.2 + 0.5 * height)
    low, high = block.limits
    image = axes.imshow(values, vmin=low, vmax=high, cmap="Blues", aspect="auto")
    for row, column in np.ndindex(height, width):
        number = values[row, column]
        if np.isnan(number):
            continue
        mark = block.marks[row][column] if block.marks else ""
        dark = (number - low) / ((high - low) or 1) > 0.6
        axes.text(
            column, row, f"{number:.2f}{mark}", ha="center", va="center",
            color="white" if dark else "black",
        )  # fmt: skip
    axes.set_xticks(range(width), block.columns, rotation=20, ha="right")
    axes.set_yticks(range(height), block.rows)
    figure.colorbar(image, shrink=0.8, label=block.label)
    return figure


def _curves(block: Curves) -> Any:
    figure, axes = _figure(width=5.6, height=3.8)
    for number, (name, points) in enumerate(block.series.items()):
        columns = np.array(points, float).T
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(
            *columns[:2],
            color=colour,
            linestyle=DASHES[number % len(DASHES)],
            marker=MARKERS[number % len(MARKERS)],
            markevery=max(1, len(points) // 12),
            markersize=4,
            linewidth=1.4,
            label=name,
        )
        if len(columns) == 4:
            axes.fill_between(
                columns[0], columns[2], columns[3], color=colour, alpha=0.15,
                linewidth=0,
            )  # fmt: skip
    if block.diagonal:
        axes.plot([0, 1], [0, 1], color="#777777", linewidth=0.8, label="chance")
    if block.log_x:
        axes.set_xscale("log")
    if block.log_y:
        axes.set_yscale("log")
    axes.set_xlabel(block.x_label)
    axes.set_ylabel(block.y_label)
    _legend(axes)
    return figure


def _legend(axes: Any) -> None:
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="upper left",
                bbox_to_anchor=(0, -0.16))  # fmt: skip


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
    figure = Figure(figsize=(width, height), dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
