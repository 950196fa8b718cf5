"""Tables as Markdown and LaTeX, and intervals."""

import math

import numpy as np
import pytest

from helix_jax.reports import (
    format_interval,
    latex_table,
    markdown_table,
    read_interval,
)
from helix_jax.reports.tables import show_rows


def test_a_table_lines_up():
    table = markdown_table(["arm", "accuracy"], [["mapped", 0.51234], ["a", 12]])
    assert table.splitlines() == [
        "| arm    | accuracy |",
        "| :----- | -------: |",
        "| mapped |   0.5123 |",
        "| a      |       12 |",
    ]


@pytest.mark.parametrize("make", [markdown_table, latex_table])
def test_a_short_row_is_refused(make):
    with pytest.raises(ValueError, match="expected 2 cells, got 1"):
        make(["a", "b"], [["x"]])


def test_latex_escapes_its_own_marks():
    table = latex_table(["a_b", "n"], [["50% & more {x}", 2.0]], caption="R^2 of #1")
    assert r"a\_b & n \\" in table
    assert r"50\% \& more \{x\} & 2 \\" in table
    assert r"\caption{R\textasciicircum{}2 of \#1}" in table
    assert r"\begin{tabular}{lr}" in table


def test_an_interval_is_shown_in_percent():
    summary = {"x": 0.912, "x_low": 0.9, "x_high": 0.93}
    assert format_interval(summary, "x") == "91.2 [90.0, 93.0]"
    assert format_interval(summary, "x", scale=1, digits=2) == "0.91 [0.90, 0.93]"
    assert format_interval({"x": 0.5, "x_low": None}, "x") == "50.0"
    assert format_interval(summary, "y") is None
    assert read_interval(summary, "x", scale=2) == [1.824, 1.8, 1.86]
    assert all(map(math.isnan, read_interval(summary, "y")))


def test_an_upright_bar_in_a_cell_is_not_a_column():
    rows = markdown_table(["a|b", "c"], [["x | y", 1]]).splitlines()
    assert rows[0] == r"| a\|b   |   c |"
    assert rows[2] == r"| x \| y |   1 |"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234567, "1,234,567"),
        (np.int64(12), "12"),
        (0.5, "0.5"),
        (0.123456, "0.1235"),
        (12345.6, "12,346"),
        (9999.99, "10,000"),
        (3.2e-5, "3.2e-05"),
        (0.0, "0"),
        (math.nan, "-"),
        (None, "-"),
        (np.float32("nan"), "-"),
        (math.inf, "infinite"),
        (-math.inf, "-infinite"),
        (True, "yes"),
        (np.False_, "no"),
        ("text", "text"),
        (np.float32(0.25), "0.25"),
    ],
)
def test_numbers_have_one_format_and_missing_ones_are_said(value, text):
    assert markdown_table(["x"], [[value]]).splitlines()[2].strip("| ") == text


@pytest.mark.parametrize(
    ("column", "shown"),
    [
        ([0.6522, 0.7, None], ["0.6522", "0.7000", "-"]),
        ([0.730131, 0.012267], ["0.7301", "0.0123"]),
        ([0.5, 12], ["0.5", "12"]),  # a count stays one
        ([0.5, 0.00012], ["0.5", "0.00012"]),  # too far apart for equal digits
        ([12345.6, 2.5], ["12,346", "2.5"]),
        ([0.0, 0.25], ["0.00", "0.25"]),
        (["a", 0.5, True], ["a", "0.5", "yes"]),
        ([math.nan, 2.0, 2.5], ["-", "2.0", "2.5"]),
    ],
)
def test_numbers_of_a_column_have_equal_digits(column, shown):
    assert [cells[0] for cells in show_rows([[one] for one in column])] == shown


def test_missing_cells_leave_text_to_the_left():
    table = markdown_table(["a", "b"], [["x", None], [None, 2.0]]).splitlines()
    assert table[1] == "| :-- | --: |"


def test_large_numbers_have_no_digits_that_say_nothing():
    summary = {"x": 766479600.9, "x_low": 23456.78, "x_high": 1524.96}
    assert format_interval(summary, "x", scale=1) == "7.66e+08 [23,457, 1,525.0]"
    # Nor is there a zero below zero.
    summary = {"x": -0.0004, "x_low": -0.06, "x_high": 0.0}
    assert format_interval(summary, "x", scale=1, digits=1) == "0.0 [-0.1, 0.0]"
    summary = {"x": 1.0, "x_low": 0.5, "x_high": math.nan}
    assert format_interval(summary, "x", scale=1) == "1.0"
