"""Relative representations: row-wise twin, invariance, planted rotations."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from helix_jax.alignment import (
    fit_relative,
    from_batch,
    map_at,
    path_r2,
    relative_representation,
)


def unit(z):
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def test_it_is_the_cosine_to_each_anchor(make_planted):
    x, *_ = make_planted(60, 8, 3, mean_over_std=2.0)
    mean = x.mean(0)
    found = relative_representation(x, x[:9], mean=mean)
    np.testing.assert_allclose(
        found, 1 - cdist(x - mean, x[:9] - mean, "cosine"), atol=1e-6
    )
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    turned = relative_representation(
        5 * x @ turn, 5 * x[:9] @ turn, mean=5 * mean @ turn
    )
    np.testing.assert_allclose(turned, found, atol=1e-6)


def test_the_map_is_the_inverse_relative_representation_row_by_row(make_planted):
    x, y, *_ = make_planted(300, 8, 6, noise=1.0, mean_over_std=2.0)
    moments = from_batch(x, y)
    found = map_at(fit_relative(moments, x[:20], y[:20], penalties=0.0), 0).map
    mx, my = x.mean(0), y.mean(0)
    cosines = unit(x - mx) @ unit(x[:20] - mx).T
    directions = np.linalg.lstsq(unit(y[:20] - my), cosines.T, rcond=None)[0].T
    ratio = np.sqrt(y.var(0).sum() / x.var(0).sum())
    wanted = my + ratio * np.linalg.norm(x - mx, axis=1, keepdims=True) * directions
    mapped = x @ np.asarray(found.kernel) + np.asarray(found.bias)
    np.testing.assert_allclose(mapped, wanted, atol=1e-4)


def test_a_rotation_with_a_scale_is_recovered_exactly():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 7)) + 3
    y = 4 * x @ np.linalg.qr(rng.normal(size=(7, 7)))[0] - 1
    moments = from_batch(x, y)
    path = fit_relative(moments, x[:10], y[:10], penalties=[0.0, 1.0])
    r2 = path_r2(path, moments)
    np.testing.assert_allclose(r2[0], 1, atol=1e-9)
    assert float(r2[1]) < 1
    assert bool(path.ok.all())


def test_bad_input_is_refused(make_planted):
    x, y, *_ = make_planted(50, 8, 6)
    moments = from_batch(x, y)
    with pytest.raises(ValueError, match="same rows, got 5 and 6"):
        fit_relative(moments, x[:5], y[:6])
    with pytest.raises(ValueError, match="anchors_x needs width 8, got 6"):
        fit_relative(moments, y[:5], y[:5])
    with pytest.raises(ValueError, match="anchors_y holds NaN"):
        fit_relative(moments, x[:5], np.full((5, 6), np.nan))
    with pytest.raises(ValueError, match="must not be negative"):
        fit_relative(moments, x[:5], y[:5], penalties=-1.0)
    same = np.ones((5, 8)) * np.asarray(moments.mean_x)
    assert np.isfinite(
        np.asarray(relative_representation(same, x[:3], mean=same[0]))
    ).all()
    constant = from_batch(np.ones((50, 8)), y)
    assert not bool(fit_relative(constant, np.ones((5, 8)), y[:5]).ok.any())
