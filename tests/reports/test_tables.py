"""Markdown tables and intervals."""

import pytest

from helix_jax.reports import format_interval, markdown_table
from helix_jax.reports.plots import plot_bars, plot_matrix


def test_a_table_lines_up():
    table = markdown_table(["arm", "accuracy"], [["mapped", 0.51234], ["a", 12]])
    assert table.splitlines() == [
        "| arm    | accuracy |",
        "| :----- | -------: |",
        "| mapped |   0.5123 |",
        "| a      |       12 |",
    ]


def test_a_short_row_is_refused():
    with pytest.raises(ValueError, match="expected 2 cells, got 1"):
        markdown_table(["a", "b"], [["x"]])


def test_an_interval_is_shown_in_percent():
    summary = {"x": 0.912, "x_low": 0.9, "x_high": 0.93}
    assert format_interval(summary, "x") == "91.2 [90.0, 93.0]"


def test_plots_are_png_files(tmp_path):
    import numpy as np

    bars = plot_bars(
        tmp_path / "bars.png", ["a"], {"s": [(1, 0.5, 2)]}, title="t", label="%"
    )
    matrix = plot_matrix(tmp_path / "m.png", ["a", "b"], np.eye(2), title="t")
    for path in (bars, matrix):
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 2000
