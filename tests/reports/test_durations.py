"""Durations as people say them."""

import pytest

from helix_jax.reports.durations import format_duration


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.034, "0.034 s"),
        (9.96, "10 s"),
        (34.4, "34 s"),
        (59.7, "1 min"),
        (100, "1 min 40 s"),
        (3575, "59 min 35 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h"),
        (7800, "2 h 10 min"),
        (86_400, "24 h"),
        (2 * 86_400 - 10, "48 h"),
        (2 * 86_400, "2 days"),
        (273_600, "3 days 4 h"),
        (1e9, "11,574 days 2 h"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds, said):
    assert format_duration(seconds) == said
