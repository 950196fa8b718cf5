"""Errors of private results, and planted problems, against numpy."""

import numpy as np
import pytest

from helix_jax.alignment import from_batch
from helix_jax.private.comparisons import moment_errors
from helix_jax.private.planted import planted_layer, planted_rows


def test_errors_of_moments_equal_numpy():
    x, y = planted_rows(rows=60, widths=(5, 3), seed=1)
    plain = from_batch(x, y)
    assert set(moment_errors(plain, plain).values()) == {0.0}
    shift = np.array([0.0, 0.5, -2.0])
    cross = (x - x.mean(0)).T @ (y - y.mean(0)) / len(x)
    off = cross.copy()
    off[0] *= 1.5
    private = plain._replace(cov_xy=off, mean_y=y.mean(0) + shift)
    errors = moment_errors(private, plain._replace(cov_xy=cross, mean_y=y.mean(0)))
    spread = x.std(0)[:, None]
    gap = off - cross
    assert errors["relative_error"] == pytest.approx(
        np.linalg.norm(gap) / np.linalg.norm(cross)
    )
    assert errors["scaled_error"] == pytest.approx(
        np.linalg.norm(gap / spread) / np.linalg.norm(cross / spread), rel=1e-5
    )
    assert errors["mean_error"] == pytest.approx(2.0)


def test_planted_problems_are_of_the_sizes_that_are_said():
    classifier, x = planted_layer(width=400, classes=6, queries=500, seed=2)
    logits = x @ classifier.kernel + classifier.bias
    assert logits.shape == (500, 6)
    assert logits.std() == pytest.approx(10, rel=0.1)  # observed: 9.9
    x, y = planted_rows(rows=5000, widths=(4, 2), seed=3)
    ones = np.column_stack([x, np.ones(len(x))])
    solution, residual, *_ = np.linalg.lstsq(ones, y, rcond=None)
    np.testing.assert_allclose(residual / len(x), 1, rtol=0.05)  # observed: .98, .97
    np.testing.assert_allclose(solution[-1], -2, atol=0.1)
    np.testing.assert_allclose(x.mean(0), 1, atol=0.1)
