"""Figures: what is written beside the bars can be read."""

import itertools

import pytest

from helix_jax.reports import Bars, Curves

plots = pytest.importorskip("helix_jax.reports.plots")
pytest.importorskip("matplotlib")
NAMES = [
    "target, its own states",
    "source, mapped to the target's probe",
    "source, its own probe",
    "control: map of shuffled pairs",
    "control: random rotation",
    "smollm2-135m\nto gemma3-270m",
]


@pytest.mark.parametrize("count", [1, 3, 5, 6])
def test_names_below_standing_bars_do_not_overlap(count):
    block = Bars("a title", "accuracy, %", NAMES[-count:], {"x": [(5, 4, 6)] * count})
    figure = plots.draw(block)
    figure.canvas.draw()
    labels = figure.axes[0].get_xticklabels()
    assert len(labels) == count
    assert " ".join(labels[-1].get_text().split()) == "smollm2-135m to gemma3-270m"
    places = [label.get_window_extent() for label in labels]
    for left, right in itertools.pairwise(places):
        assert left.x1 < right.x0


@pytest.mark.parametrize("groups", [1, plots.STANDING + 1])
def test_intervals_of_bars_reach_from_their_low_to_their_high_end(groups):
    values = [(5.0, 4.0, 8.0)] * groups
    block = Bars("a title", "x", list(map(str, range(groups))), {"x": values})
    (bars,) = plots.draw(block).axes[0].containers[-1:]
    along = 1 if groups == 1 else 0  # upright, or lying where they are many
    for segment in bars.errorbar[2][0].get_segments():
        assert segment[:, along].tolist() == [4, 8]


def test_intervals_of_curves_reach_from_their_low_to_their_high_end():
    points = [[1.0, 5.0, 4.0, 8.0], [2.0, 6.0, 3.0, 7.0]]
    axes = plots.draw(Curves("a title", "x", "y", {"one": points})).axes[0]
    (lines,) = axes.collections
    assert [part[:, 1].tolist() for part in lines.get_segments()] == [[4, 8], [3, 7]]
