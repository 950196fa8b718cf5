"""The style of figures: colours, ticks, names, and the canvas."""

import textwrap
from collections.abc import Sequence
from typing import Any

from helix_jax.extras import optional_imports

# Colours that colour-blind readers can tell apart (Okabe and Ito 2008).
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
TWO_COLUMNS_INCHES = 4.6  # width of a figure whose legend has two columns


def edge_white(lines: Any) -> None:
    """Give lines a white edge, so that dark ones stay visible on dark bars."""
    from matplotlib.patheffects import withStroke

    for one in lines:
        one.set_path_effects([withStroke(linewidth=2.4, foreground="white")])


def plain_ticks(axis: Any, low: float, high: float) -> None:
    """Put plain numbers at 1, 2 and 5 on a logarithmic axis of up to three decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if high < 1000 * low:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def own_style(styles: Sequence[str], number: int) -> str:
    """The style of a series; a different one when colours repeat."""
    return styles[(number + number // len(COLOURS)) % len(styles)]


def place_legend(figure: Any, axes: Any) -> None:
    """Put a legend below the axes if there are several names."""
    names = axes.get_legend_handles_labels()[1]
    if len(names) < 2:
        return
    columns = 2 if figure.get_figwidth() >= TWO_COLUMNS_INCHES else 1
    figure.set_figheight(figure.get_figheight() + 0.18 * -(-len(names) // columns))
    figure.legend(frameon=False, fontsize=8, ncols=columns, loc="outside lower left")


def new_figure(*, width: float, height: float) -> tuple[Any, Any]:
    with optional_imports():
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    matplotlib.rcParams["svg.hashsalt"] = "helix_jax"  # reproducible ids in an SVG
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def wrap_name(name: str, letters: int) -> str:
    """A name wrapped to lines of at most `letters` letters, if its words allow it."""
    lines = name.split("\n")
    return "\n".join(
        textwrap.fill(line, max(letters, 8), break_long_words=False) for line in lines
    )
