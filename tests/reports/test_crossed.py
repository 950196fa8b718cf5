"""Tables, bars and matrices of one list against another."""

import math

from helix_jax.reports import (
    Quantity,
    column_each,
    cross_bars,
    cross_curves,
    cross_matrix,
    cross_table,
)
from helix_jax.stats import Interval

ROWS, COLUMNS = {"a": "first", "b": "second"}, {0: "zero", 1: "one"}
SHARE = Quantity("share, %", 100, 1)


def number(row, column):
    if row == "b":
        return "none" if column else None
    return Interval(0.5, 0.25, 0.75) if column else 0.125


def test_each_cell_is_of_its_row_and_column():
    table = cross_table("T", "row", ROWS, column_each(SHARE, COLUMNS), number, note="n")
    assert table.header == ["row", "zero", "one"]
    assert table.rows == [
        ["first", "12.5", "50.0 [25.0, 75.0]"],
        ["second", None, "none"],
    ]
    assert (table.title, table.note) == ("T", "n")


def test_a_quantity_without_a_form_leaves_numbers_to_the_table():
    columns = {0: Quantity("zero"), 1: Quantity("one", form=2)}
    table = cross_table("T", "row", {"a": "first"}, columns, number)
    assert table.rows == [["first", 0.125, "0.50 [0.25, 0.75]"]]


def test_bars_are_scaled_and_have_a_place_for_what_there_is_not():
    groups = {"a": "first", "c": "third"}
    intervals = {("a", 1): Interval(0.5, 0.25, 0.75)}
    bars = cross_bars(
        "B",
        SHARE,
        groups,
        {1: "one"},
        lambda group, key: intervals.get((group, key)),
        references={"chance": 0.5},
    )
    assert bars.groups == ["first", "third"]
    assert bars.label == "share, %"
    assert bars.series["one"][0] == [50, 25, 75]
    assert all(map(math.isnan, bars.series["one"][1]))
    assert bars.references == {"chance": 50}


def test_a_matrix_has_its_rows_first():
    matrix = cross_matrix(
        "M", "sum", {1: "1", 2: "2"}, {10: "10"}, lambda a, b: a + b, limits=(0, 12)
    )
    assert matrix.values == [[11], [12]]
    assert (matrix.rows, matrix.columns) == (["1", "2"], ["10"])
    assert matrix.limits == (0, 12)


def test_lines_go_through_numbers_at_their_places():
    numbers = {100: Interval(0.5, 0.25, 0.75), 200: None}
    curves = cross_curves("C", "texts", SHARE, {"one": numbers}, log_x=True)
    first, second = curves.series["one"]
    assert first == [100, 50, 25, 75]
    assert second[0] == 200
    assert all(map(math.isnan, second[1:]))
    assert (curves.y_label, curves.log_x) == ("share, %", True)
