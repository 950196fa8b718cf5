"""Curves over sizes: their numbers from the rows themselves, and the plateau rule."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helix_jax.stats import learning_curve, plateau_size

SIZES = (100, 200, 400, 800)


@pytest.mark.parametrize(
    ("loss", "wanted"),
    [
        ([2.0, 1.01, 1.0, 1.0], 200),
        ([1.0, 1.0, 1.0, 1.0], 100),
        ([1.0, 1.5, 1.0, 1.0], 400),
        ([3.0, 2.0, 1.5, 1.0], 800),
        ([np.nan, np.nan, 1.0, 1.0], 400),
        ([0.5, 0.7, 1.0, 1.0], 100),
        ([2.0, 1.0, 1.0, np.nan], 800),
    ],
)
def test_the_plateau_rule(loss, wanted):
    assert plateau_size(np.array(loss), SIZES, tolerance=0.02) == wanted


@given(st.integers(1, 999), st.sampled_from(["0.01", "0.02", "0.05", "0.1"]))
def test_a_plateau_includes_its_bound(thousandths, tolerance):
    last = Fraction(thousandths, 1000)
    bound = last * (1 + Fraction(tolerance))
    loss = np.array([float(bound), float(last)])
    assert plateau_size(loss, (100, 200), tolerance=float(tolerance)) == 100
    loss[0] = float(bound + Fraction(1, 10**5))
    assert plateau_size(loss, (100, 200), tolerance=float(tolerance)) == 200


def test_numbers_and_ends_are_those_of_the_rows_drawn():
    """Each resample as rows that stand as often as their document was drawn."""
    generator = np.random.default_rng(0)
    rows, sizes, resamples = 60, (10, 20, 40), 50
    documents = np.array([f"d{i % 17}" for i in range(rows)])
    deviation = generator.uniform(1, 2, rows)
    error = deviation * np.array([[0.6], [0.4], [0.395]])
    error *= generator.uniform(0.5, 1.5, error.shape)
    right = generator.random((3, rows)) < 0.7
    error[0], right = np.nan, right.astype(float)
    right[0] = np.nan
    curve = learning_curve(
        error, right, deviation, documents, sizes, tolerance=0.05, resamples=resamples
    )
    assert curve.at(10) == {}
    assert curve.points() == {20: curve.at(20), 40: curve.at(40)}

    def scores(chosen):
        loss = error[:, chosen].sum(1) / deviation[chosen].sum()
        last = [loss[place] <= 1.05 * loss[2] for place in range(3)]
        plateau = next(s for i, s in enumerate(sizes) if all(last[i:]))
        return [*loss[1:], *right[1:, chosen].mean(1), plateau]

    names = sorted(set(documents))
    draws = np.random.default_rng(0).integers(17, size=(resamples, 17))
    drawn = [
        np.concatenate([np.flatnonzero(documents == names[i]) for i in draw])
        for draw in draws
    ]
    value = scores(np.arange(rows))
    low, high = np.quantile([scores(one) for one in drawn], [0.025, 0.975], axis=0)
    for place, size in enumerate(sizes[1:]):
        found = curve.at(size)
        wanted = value[place], low[place], high[place]
        np.testing.assert_allclose(found["loss"], wanted, rtol=1e-12)
        r2 = 1 - wanted[0], 1 - wanted[2], 1 - wanted[1]
        np.testing.assert_allclose(found["r2"], r2, rtol=1e-12)
        wanted = value[2 + place], low[2 + place], high[2 + place]
        np.testing.assert_allclose(found["accuracy"], wanted, rtol=1e-12)
    np.testing.assert_allclose(curve.plateau, (value[4], low[4], high[4]))
    assert low[4] < high[4]  # the resamples disagree, so that the ends are tested
    assert curve.found == (value[4] < 40)


def test_shapes_that_do_not_fit_are_refused():
    ones = np.ones((2, 5))
    settings = {"tolerance": 0.02, "resamples": 5}
    with pytest.raises(ValueError, match="error needs shape"):
        learning_curve(ones, ones, np.ones(5), np.arange(5), (1, 2, 3), **settings)
    with pytest.raises(ValueError, match="document of each of 5 rows"):
        learning_curve(ones, ones, np.ones(5), np.arange(4), (1, 2), **settings)
