"""Figures: what is written beside the bars can be read."""

import itertools

import pytest

from helix_jax.reports import Bars

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
