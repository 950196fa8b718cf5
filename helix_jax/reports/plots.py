"""Plots of results as PNG files; needs the extra `plots` (matplotlib)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from helix_jax.errors import HelixError

# Colours that stay apart for colour-blind readers (Okabe and Ito 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#999999", "#CCCCCC", "#E69F00")


def plot_bars(
    path: Path,
    groups: Sequence[str],
    series: Mapping[str, Sequence[tuple[float, float, float]]],
    *,
    title: str,
    label: str,
) -> Path:
    """Grouped bars with intervals.

    Args:
      path: of the PNG.
      groups: names along the axis.
      series: name -> (value, low, high) of each group.
      title: above the plot.
      label: of the vertical axis, with its unit.

    Returns:
      The path.
    """
    figure, axes = _figure(width=2.0 + 1.6 * len(groups), height=3.8)
    width = 0.8 / len(series)
    for number, (name, values) in enumerate(series.items()):
        value, low, high = np.array(values, float).T
        places = np.arange(len(groups)) + (number - (len(series) - 1) / 2) * width
        axes.bar(
            places,
            value,
            width * 0.92,
            yerr=np.abs(np.stack([value - low, high - value])),
            color=COLOURS[number % len(COLOURS)],
            label=name,
            error_kw={"elinewidth": 0.8},
        )
    axes.set_xticks(np.arange(len(groups)), groups)
    axes.set_ylabel(label)
    axes.set_title(title, loc="left", fontsize=10)
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="upper left",
                bbox_to_anchor=(0, -0.12))  # fmt: skip
    return _save(figure, path)


def plot_matrix(
    path: Path, names: Sequence[str], values: np.ndarray, *, title: str
) -> Path:
    """A square of numbers in [0, 1], each written in its cell.

    Args:
      path: of the PNG.
      names: of rows and columns.
      values: [n, n].
      title: above the plot.

    Returns:
      The path.
    """
    figure, axes = _figure(width=1.8 + 0.9 * len(names), height=1.2 + 0.8 * len(names))
    image = axes.imshow(values, vmin=0, vmax=1, cmap="Blues")
    for row, column in np.ndindex(*values.shape):
        number = values[row, column]
        axes.text(
            column, row, f"{number:.2f}", ha="center", va="center",
            color="white" if number > 0.6 else "black",
        )  # fmt: skip
    axes.set_xticks(range(len(names)), names, rotation=20, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_title(title, loc="left", fontsize=10)
    figure.colorbar(image, shrink=0.8)
    return _save(figure, path)


def _figure(*, width: float, height: float) -> tuple[Any, Any]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise HelixError(
            "plots need matplotlib; install it with: pip install 'helix_jax[plots]'"
        ) from error
    figure = Figure(figsize=(width, height), dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Any, path: Path) -> Path:
    figure.savefig(path, bbox_inches="tight")
    return path
