"""Grids of penalties: the order of the fits, and the choice among them."""

import jax
import numpy as np
import pytest

from helix_jax.penalties import choose_best, strongest_first


@pytest.mark.parametrize(
    "asked", [[0.1, 10.0, 1.0], [3.0], [1.0, 2.0, 2.0, 0.5], [4.0, 2.0, 1.0]]
)
def test_fits_go_from_the_strongest_and_answers_keep_the_order_asked_for(asked):
    walked = []

    def fit(penalties):
        walked.extend(np.asarray(penalties).tolist())
        return {"penalty": penalties, "place": np.arange(len(penalties))}

    path = strongest_first(fit, np.array(asked))
    assert walked == sorted(asked, reverse=True)
    np.testing.assert_array_equal(path["penalty"], asked)
    # Of penalties that are alike, the first that was asked for is fitted first.
    order = sorted(range(len(asked)), key=lambda place: -asked[place])
    assert [order[place] for place in path["place"].tolist()] == list(range(len(asked)))


@pytest.mark.parametrize(
    ("scores", "place", "at_edge"),
    [
        ([1.0, 3.0, 2.0], 1, False),
        ([3.0, 1.0, 2.0], 0, True),
        ([1.0, 2.0, 3.0], 2, True),
        ([1.0, 3.0, 3.0, 2.0], 1, False),
        ([np.nan, -5.0, np.inf, -9.0], 1, False),
        ([np.nan, np.nan, np.nan], 0, True),
        ([7.0], 0, False),
    ],
)
@pytest.mark.parametrize("jitted", [False, True])
def test_the_first_of_the_best_that_is_a_number_is_chosen(
    scores, place, at_edge, jitted
):
    choose = jax.jit(choose_best) if jitted else choose_best
    found = choose(np.array(scores))
    assert (int(found[0]), bool(found[1])) == (place, at_edge)
