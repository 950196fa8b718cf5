"""Numbers by their names as cells, rows, tables and bars."""

from helix_jax.reports import Quantity, arm_table, plain_bars, quantity_rows
from helix_jax.stats import Interval

NUMBERS = {
    "accuracy": Interval(0.5, 0.25, 0.75),
    "accuracy_low": 0.1,  # of no interval: the record goes before
    "bytes": 2_500_000,
    "error": 0.00012345,
    "same": 1.0,
    "accuracy_random": Interval(0.125, 0.0, 0.25),
}


def test_a_cell_is_what_its_form_says():
    cells = {
        "accuracy": (Quantity("accuracy, %", 100, 1), "50.0 [25.0, 75.0]"),
        "bytes": (Quantity("up, MB", 1e-6), 2.5),
        "error": (Quantity("error", 1, ".2g"), "0.00012"),
        "same": (Quantity("same", form=bool), True),
        "none": (Quantity("none", 1, ".2g"), None),
    }
    for name, (quantity, cell) in cells.items():
        found = quantity.cell(NUMBERS, name)
        assert found == cell, name
        assert type(found) is type(cell), name
    assert Quantity("none", form=2).cell(NUMBERS, "none") is None
    whole = Quantity("bytes").cell(NUMBERS, "bytes")
    assert whole == 2_500_000
    assert isinstance(whole, int)  # not scaled, so a whole number still


def test_of_an_interval_a_form_without_one_shows_the_value():
    assert Quantity("accuracy, %", 100).cell(NUMBERS, "accuracy") == 50.0
    assert Quantity("accuracy", 1, ".2f").cell(NUMBERS, "accuracy") == "0.50"


def test_a_summary_has_the_cells_of_its_report():
    shown = Quantity("accuracy, %", 100, 1)
    summary = {"a": 0.5, "a_low": 0.25, "a_high": 0.75, "b": 0.5}
    assert shown.cell(summary, "a") == shown.cell(NUMBERS, "accuracy")
    assert shown.cell(summary, "b") == "50.0"


def test_rows_and_columns_that_are_there():
    shown = {
        "accuracy": Quantity("accuracy, %", 100, 1),
        "missing": Quantity("missing"),
        "error": Quantity("error", 1, ".0e"),
    }
    rows = quantity_rows(NUMBERS, shown, arms=("", "_random"))
    assert rows == [
        ["accuracy, %", "50.0 [25.0, 75.0]", "12.5 [0.0, 25.0]"],
        ["error", "1e-04", None],
    ]
    arms = {"": "mapped", "_random": "control", "_mean": "never measured"}
    table = arm_table("Maps", NUMBERS, arms, shown, note="note")
    assert table.header == ["map", "accuracy, %", "error"]
    assert table.rows == [
        ["mapped", "50.0 [25.0, 75.0]", "1e-04"],
        ["control", "12.5 [0.0, 25.0]", None],
    ]
    assert (table.title, table.note) == ("Maps", "note")
    nothing = arm_table("Maps", {}, arms, shown)
    assert (nothing.header, nothing.rows) == (["map"], [])


def test_names_are_made_as_asked():
    numbers = {"x/y/rate": 0.25}
    rows = quantity_rows(
        numbers,
        {"rate": Quantity("rate")},
        lambda name, pair: f"{pair}/{name}",
        ["x/y"],
    )
    assert rows == [["rate", 0.25]]


def test_bars_without_intervals():
    bars = plain_bars("Time", "s", {"client": 1.5, "provider": 2.0}, series="fit")
    assert bars.groups == ["client", "provider"]
    assert bars.series == {"fit": [[1.5] * 3, [2.0] * 3]}
