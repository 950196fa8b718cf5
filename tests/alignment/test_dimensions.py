"""Scales of target dimensions behind a rotation, against scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from helix_jax.alignment import (
    AffineMap,
    apply_map,
    evaluate_map,
    fit_least_squares,
    fit_procrustes,
    from_batch,
    scale_dimensions,
)


@pytest.mark.parametrize(("dx", "dy"), [(6, 6), (4, 7), (7, 4)])
def test_each_dimension_is_a_regression_of_its_own(make_planted, dx, dy):
    x, y, *_ = make_planted(200, dx, dy, noise=1.0, mean_over_std=2.0)
    moments = from_batch(x, y)
    rotation = fit_procrustes(moments).map
    found = scale_dimensions(rotation, moments)
    mapped = np.asarray(apply_map(rotation, x), np.float64)
    twins = [LinearRegression().fit(mapped[:, [j]], y[:, j]) for j in range(dy)]
    wanted = np.stack([t.predict(mapped[:, [j]]) for j, t in enumerate(twins)], 1)
    np.testing.assert_allclose(apply_map(found, x), wanted, atol=1e-4)
    assert evaluate_map(found, moments).r2 >= evaluate_map(rotation, moments).r2


def test_least_squares_has_its_scales_already(make_planted):
    x, y, *_ = make_planted(200, 5, 4, noise=1.0)
    moments = from_batch(x, y)
    best = fit_least_squares(moments).map
    found = scale_dimensions(best, moments)
    np.testing.assert_allclose(found.kernel, best.kernel, atol=1e-5)


def test_a_dimension_that_the_map_leaves_out_has_the_mean(make_planted):
    x, y, *_ = make_planted(200, 3, 2, noise=1.0, mean_over_std=2.0)
    kernel = np.array([[1.0, 0], [0, 0], [0, 0]])
    found = scale_dimensions(AffineMap(kernel, np.zeros(2)), from_batch(x, y))
    mapped = np.asarray(apply_map(found, x))
    np.testing.assert_allclose(mapped[:, 1], y[:, 1].mean(), atol=1e-5)


def test_moments_of_other_widths_are_refused(make_planted):
    x, y, *_ = make_planted(50, 3, 2, noise=1.0)
    exchanged = AffineMap(np.ones((2, 3)), np.zeros(3))
    with pytest.raises(ValueError, match="x and y are exchanged"):
        scale_dimensions(exchanged, from_batch(x, y))
