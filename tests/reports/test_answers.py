"""A run's answer in a sentence: its own, or that of its first table."""

import json

import pytest

from helix_jax.errors import RunError
from helix_jax.reports import (
    Answer,
    Bars,
    Quantity,
    Table,
    answer_of,
    load_answer,
    print_answer,
    save_answer,
)
from helix_jax.stats import Interval

ARMS = Table(
    "Maps",
    ["map", "accuracy, %", "R2"],
    [
        ["ridge", "61.4 [51.6, 70.9]", 0.71234],
        ["control: shuffled", "33.0 [30.0, 36.0]", None],
        ["control: mean", None, None],
        ["a fourth", "1.0", None],
    ],
)


def test_the_first_row_answers_and_the_next_stand_beside_it():
    assert answer_of([ARMS]) == (
        "Maps: ridge, accuracy 61.4% [51.6, 70.9], R2 0.7123; "
        "control: shuffled, 33.0 [30.0, 36.0]; a fourth, 1.0."
    )


def test_measures_of_a_list_have_their_units():
    rows = [["fit, s", "1.5"], ["missing", None], ["error", 0.25], ["up, kB", 3]]
    table = Table("Cost", ["measure", "value"], rows)
    assert answer_of([table]) == "Cost: fit 1.5 s; error 0.25; up 3 kB."


def test_a_row_of_numbers_alone_is_told_by_its_columns():
    table = Table("Rows", ["rows", "width", "share, %"], [[535, 1768, 3.25]])
    assert answer_of([table]) == "Rows: rows 535; width 1,768; share 3.25%."


def test_rows_of_which_some_are_named_by_numbers():
    table = Table("Sizes", ["size", "R2"], [["all", 0.75], [100, 0.5]])
    assert answer_of([table]) == "Sizes: all, R2 0.75; 100, 0.5."


def test_figures_and_empty_tables_do_not_answer():
    empty = Table("None", ["a", "b"], [])
    bars = Bars("B", "x", ["g"], {"s": [[1, 1, 1]]})
    assert answer_of([bars, empty, ARMS]) == answer_of([ARMS])
    assert answer_of([bars, empty]) == ""


def test_an_answer_comes_back_and_that_of_an_old_run_is_made(tmp_path):
    assert load_answer(tmp_path, [ARMS]) == Answer(answer_of([ARMS]))
    said = Answer("R2 is \u00bd.", "A -> B, 40 texts.")
    save_answer(tmp_path, said)
    assert load_answer(tmp_path, [ARMS]) == said
    (tmp_path / "answer.json").write_text(json.dumps({"word": "x"}))
    with pytest.raises(RunError, match=r"answer\.json is damaged"):
        load_answer(tmp_path, [ARMS])


def test_a_number_is_told_with_its_unit():
    numbers = {"a": Interval(0.614, 0.516, 0.709), "s": 1.25, "n": 1200}
    assert Quantity("accuracy, %", 100, 1).told(numbers, "a") == "61.4% [51.6, 70.9]"
    assert Quantity("time, s", form=".1f").told(numbers, "s") == "1.2 s"
    assert Quantity("R2", form=2).told(numbers, "a") == "0.61 [0.52, 0.71]"
    assert Quantity("texts").told(numbers, "n") == "1,200"


def test_the_answer_is_told_in_lines_of_88_columns(capsys):
    print_answer(Answer("word " * 40, "A -> B."))
    first, *others, last = capsys.readouterr().out.splitlines()
    assert first.startswith("answer: word")
    assert max(map(len, [first, *others])) <= 88
    assert last == "of: A -> B."
    print_answer(Answer(""))
    assert capsys.readouterr().out == ""
