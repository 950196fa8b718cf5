"""Controls: each has exactly what it claims, and none finds the planted map."""

import jax
import numpy as np
import pytest

from helix_jax.alignment import (
    derangement,
    evaluate_map,
    fit_least_squares,
    fit_shuffled,
    from_batch,
    gaussian_like,
    identity_map,
    mean_map,
    random_orthogonal_map,
)
from helix_jax.linalg import random_orthogonal

KEY = jax.random.key(0)


@pytest.mark.slow
def test_no_control_finds_the_planted_map(make_planted):
    x, y, *_ = make_planted(2000, 8, 8, noise=0.1, mean_over_std=1)
    fit, test = from_batch(x[:1000], y[:1000]), from_batch(x[1000:], y[1000:])
    assert float(evaluate_map(fit_least_squares(fit).map, test).r2) > 0.99
    shuffled = fit_shuffled(x[:1000], y[:1000], key=KEY, penalty=1e-3)
    for control in (
        mean_map(fit),
        identity_map(8, 8),
        random_orthogonal_map(fit, key=KEY),
        shuffled,
    ):
        assert float(evaluate_map(control, test).r2) < 0.1


@pytest.mark.parametrize(("dx", "dy"), [(6, 6), (9, 4), (4, 9)])
def test_random_orthogonal_map_keeps_mean_and_variance(make_planted, dx, dy):
    x, y, *_ = make_planted(300, dx, dy, condition=50, mean_over_std=2)
    moments = from_batch(x, y)
    affine = random_orthogonal_map(moments, key=KEY)
    kernel = np.asarray(affine.kernel)
    mapped = x @ kernel + np.asarray(affine.bias)
    np.testing.assert_allclose(mapped.mean(0), y.mean(0), rtol=1e-9, atol=1e-9)
    assert mapped.var(0).sum() == pytest.approx(y.var(0).sum(), rel=1e-9)
    gram = kernel.T @ kernel if dx >= dy else kernel @ kernel.T
    np.testing.assert_allclose(gram / gram[0, 0], np.eye(min(dx, dy)), atol=1e-9)
    other = random_orthogonal_map(moments, key=jax.random.key(1))
    assert np.abs(np.asarray(other.kernel) - kernel).max() > 0.01


def test_random_orthogonal_is_not_biased_in_sign():
    keys = jax.random.split(KEY, 400)
    draws = np.stack([np.asarray(random_orthogonal(key, 3, 3)) for key in keys])
    np.testing.assert_allclose(draws.mean(0), 0, atol=4 / np.sqrt(3 * 400))


@pytest.mark.parametrize("rows", [2, 3, 10, 1001])
def test_a_derangement_is_one_cycle(rows):
    order = np.asarray(derangement(KEY, rows))
    assert sorted(order) == list(range(rows))
    at, seen = 0, 0
    while seen == 0 or at != 0:
        at, seen = order[at], seen + 1
    assert seen == rows


def test_all_cycles_are_equally_likely():
    draws = [tuple(np.asarray(derangement(jax.random.key(i), 4))) for i in range(600)]
    counts = [draws.count(cycle) for cycle in set(draws)]
    assert len(counts) == 6  # (4 - 1)!
    assert max(counts) < 100 + 5 * 10
    assert min(counts) > 100 - 5 * 10


def test_shuffled_fit_is_the_fit_of_the_shuffled_rows(make_planted):
    x, y, *_ = make_planted(300, 5, 3, noise=0.1)
    got = fit_shuffled(x, y, key=KEY, penalty=1e-9, block_rows=64)
    order = np.asarray(derangement(KEY, 300))
    want = fit_least_squares(from_batch(x, y[order])).map
    np.testing.assert_allclose(got.kernel, want.kernel, atol=1e-8)


def test_identity_with_unequal_widths():
    np.testing.assert_array_equal(identity_map(2, 3).kernel, np.eye(2, 3))


def test_one_row_cannot_be_shuffled():
    with pytest.raises(ValueError, match="needs at least 2 rows"):
        derangement(KEY, 1)


def test_the_gaussian_control_spreads_like_the_target():
    rng = np.random.default_rng(0)
    y = (rng.exponential(size=(20_000, 4)) @ rng.normal(size=(4, 4))).astype("float32")
    drawn = gaussian_like(y, seed=0)
    np.testing.assert_allclose(drawn.mean(0), y.mean(0), atol=0.1)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(y.T), atol=0.2)
    third = ((y - y.mean(0)) ** 3).mean(0)
    assert np.abs(((drawn - drawn.mean(0)) ** 3).mean(0)).max() < np.abs(third).max()
