"""Ridge and least squares: planted maps, scikit-learn, penalties, bad input."""

import jax
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import r2_score

from helix_jax.alignment import (
    apply_map,
    fit_least_squares,
    fit_ridge,
    from_batch,
    ridge_at,
    ridge_maps,
    select_by_gcv,
    select_penalty,
)

PENALTIES = [1e-3, 1.0, 30.0]


@pytest.mark.parametrize("fit", [fit_least_squares, jax.jit(fit_least_squares)])
def test_least_squares_recovers_a_planted_map(make_planted, fit):
    x, y, kernel, bias = make_planted(500, 6, 4, mean_over_std=50.0)
    got = fit(from_batch(x, y))
    assert bool(got.ok)
    assert got.failure is None
    assert int(got.rank) == 6
    np.testing.assert_allclose(got.map.kernel, kernel, atol=1e-9)
    np.testing.assert_allclose(got.map.bias, bias, atol=1e-6)


def test_ridge_with_a_vanishing_penalty_recovers_a_planted_map(make_planted):
    x, y, kernel, _ = make_planted(500, 6, 4)
    got = ridge_at(fit_ridge(from_batch(x, y), penalties=1e-12), 0)
    np.testing.assert_allclose(got.map.kernel, kernel, atol=1e-9)


@pytest.mark.parametrize("rows", [200, 20])
def test_ridge_equals_scikit_learn(make_planted, rows):
    x, y, *_ = make_planted(rows, 30, 4, noise=1.0, condition=100, mean_over_std=10)
    fits = ridge_maps(fit_ridge(from_batch(x, y), penalties=PENALTIES, relative=False))
    for index, penalty in enumerate(PENALTIES):
        twin = Ridge(alpha=penalty, solver="cholesky").fit(x, y)
        kernel, bias = fits.map.kernel[index], fits.map.bias[index]
        np.testing.assert_allclose(kernel, twin.coef_.T, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(bias, twin.intercept_, rtol=1e-6, atol=1e-6)


def test_relative_penalty_is_scale_free_and_matches_its_definition(make_planted):
    x, y, *_ = make_planted(300, 5, 3, noise=1.0, condition=100)
    moments = from_batch(x, y)
    relative = ridge_at(fit_ridge(moments, penalties=0.1), 0)
    lam = 0.1 * 300 * np.trace(moments.cov_xx) / 5
    absolute = ridge_at(fit_ridge(moments, penalties=lam, relative=False), 0)
    np.testing.assert_allclose(relative.map.kernel, absolute.map.kernel, rtol=1e-10)
    scaled = ridge_at(fit_ridge(from_batch(100 * x, y), penalties=0.1), 0)
    np.testing.assert_allclose(
        100 * np.asarray(scaled.map.kernel), relative.map.kernel, rtol=1e-9
    )
    again = from_batch(np.vstack([x, x]), np.vstack([y, y]))
    doubled = ridge_at(fit_ridge(again, penalties=0.1), 0)
    np.testing.assert_allclose(doubled.map.kernel, relative.map.kernel, rtol=1e-9)


def test_the_intercept_is_not_penalised(make_planted):
    x, y, *_ = make_planted(100, 5, 3, mean_over_std=5.0)
    heavy = ridge_at(fit_ridge(from_batch(x, y), penalties=1e9), 0)
    np.testing.assert_allclose(heavy.map.bias, y.mean(0), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("jitted", [False, True])
def test_selection_equals_scoring_every_map_on_the_rows(make_planted, jitted):
    x, y, *_ = make_planted(120, 30, 4, noise=5.0, condition=1e3, mean_over_std=10)
    fit, held = slice(0, 60), slice(60, None)
    penalties = np.logspace(-6, 3, 12)

    def choose(fit_moments, select_moments):
        path = fit_ridge(fit_moments, penalties=penalties)
        return select_penalty(path, select_moments), ridge_maps(path)

    choose = jax.jit(choose) if jitted else choose
    with jax.enable_x64(True):
        chosen, fits = choose(from_batch(x[fit], y[fit]), from_batch(x[held], y[held]))
    scores = [
        r2_score(
            y[held],
            x[held] @ np.asarray(fits.map.kernel[i]) + np.asarray(fits.map.bias[i]),
            multioutput="variance_weighted",
        )
        for i in range(12)
    ]
    np.testing.assert_allclose(chosen.r2, scores, atol=1e-9)
    best = int(np.argmax(scores))
    assert 0 < best < 11, "the planted case should not be solved at an edge"
    assert int(chosen.index) == best
    assert not bool(chosen.at_edge)
    np.testing.assert_allclose(chosen.fit.map.kernel, fits.map.kernel[best], rtol=1e-9)
    assert float(chosen.fit.penalty) == pytest.approx(penalties[best])


def test_an_edge_of_the_grid_is_reported(make_planted):
    x, y, *_ = make_planted(100, 5, 3)
    moments = from_batch(x, y)
    chosen = select_penalty(fit_ridge(moments, penalties=[1e-6, 1.0, 10.0]), moments)
    assert int(chosen.index) == 0
    assert bool(chosen.at_edge)


def test_rank_deficient_sources_get_the_minimum_norm_map(make_planted):
    x, y, *_ = make_planted(200, 5, 3, noise=0.5)
    x = np.hstack([x, x[:, :2] + x[:, 2:4], np.full((200, 1), 3.0)])
    got = fit_least_squares(from_batch(x, y))
    assert bool(got.ok)
    assert int(got.rank) == 5
    twin = LinearRegression().fit(x, y)  # scipy's gelsd: minimum norm
    np.testing.assert_allclose(got.map.kernel, twin.coef_.T, atol=1e-8)


def test_condition_and_rcond(make_planted):
    x, y, *_ = make_planted(4000, 6, 2, noise=0.1, condition=1e6)
    moments = from_batch(x, y)
    values = np.linalg.eigvalsh(np.asarray(moments.cov_xx))
    full = fit_least_squares(moments)
    np.testing.assert_allclose(full.condition, values[-1] / values[0], rtol=1e-6)
    cut = fit_least_squares(moments, rcond=1e-3)
    assert float(cut.condition) < 1e3
    damped = ridge_at(fit_ridge(moments, penalties=1.0), 0)
    assert 1 < float(damped.condition) < 10


def test_constant_sources_are_not_ok():
    x, y = np.ones((50, 3)), np.random.default_rng(0).normal(size=(50, 2))
    assert not bool(fit_least_squares(from_batch(x, y)).ok)
    fit = ridge_at(fit_ridge(from_batch(x, y), penalties=0.1), 0)
    assert not bool(fit.ok)
    assert "could not be solved: condition" in fit.failure
    assert "Do the source states vary" in fit.failure


def test_apply_in_float32(make_planted):
    x, y, *_ = make_planted(300, 6, 4, dtype="float32")
    fit = fit_least_squares(from_batch(x, y))
    mapped = apply_map(fit.map, x)
    assert mapped.dtype == np.float32
    np.testing.assert_allclose(mapped, y, atol=1e-4)


def test_bad_input_is_refused(make_planted):
    x, y, *_ = make_planted(10, 8, 2)
    moments = from_batch(x, y)
    with pytest.raises(ValueError, match=r"none negative, got \[-1.0\]"):
        fit_ridge(moments, penalties=-1)
    with pytest.raises(ValueError, match="one or more numbers"):
        fit_ridge(moments, penalties=[])
    with pytest.raises(ValueError, match="got 8 rows for 8"):
        fit_ridge(from_batch(x[:8], y[:8]), penalties=[0.0, 1.0])
    with pytest.raises(ValueError, match="needs at least 2 rows"):
        fit_ridge(from_batch(x[:1], y[:1]))
    with pytest.raises(ValueError, match=r"needs at least 10 rows .* got 9"):
        fit_least_squares(from_batch(x[:9], y[:9]))
    with pytest.raises(ValueError, match=r"rcond needs to be in \[0, 1\)"):
        fit_least_squares(moments, rcond=2.0)
    with pytest.raises(ValueError, match="mean_x of the moments holds NaN"):
        fit_ridge(moments._replace(mean_x=np.full(8, np.nan)))
    with pytest.raises(ValueError, match=r"the path maps \[8, 2\]"):
        select_penalty(fit_ridge(moments), from_batch(y, y))


@pytest.mark.parametrize("rows", [12, 40])
def test_gcv_counts_the_intercept_among_the_degrees_of_freedom(make_planted, rows):
    """The hat matrix itself, of ridge on x and a column of ones."""
    x, y, *_ = make_planted(rows, 6, 4, noise=2.0, mean_over_std=3.0)
    moments = from_batch(x, y)
    path = fit_ridge(moments, penalties=PENALTIES, relative=False)
    found = select_by_gcv(path, moments).r2
    design = np.hstack([x, np.ones((rows, 1))])
    total = np.sum((y - y.mean(0)) ** 2)
    for penalty, r2 in zip(PENALTIES, np.asarray(found)):
        damped = design.T @ design + penalty * np.diag([1.0] * 6 + [0.0])
        hat = design @ np.linalg.solve(damped, design.T)
        error = np.sum((y - hat @ y) ** 2)
        wanted = 1 - error / total / (1 - np.trace(hat) / rows) ** 2
        assert r2 == pytest.approx(wanted, rel=1e-6)


@pytest.mark.slow
def test_gcv_that_knows_of_noise_is_right_on_average(make_planted):
    """Noise in cov_xy, of another size in each row, against the error in the clear."""
    x, y, *_ = make_planted(500, 6, 4)
    moments = from_batch(x, y)
    path = fit_ridge(moments, penalties=PENALTIES)
    zero = np.zeros((6, 4))
    np.testing.assert_array_equal(
        select_by_gcv(path, moments, noise=zero).r2, select_by_gcv(path, moments).r2
    )
    rng = np.random.default_rng(0)
    cov_xx, cov_xy, cov_yy = (np.asarray(part) for part in moments[3:])
    noise = np.abs(cov_xy).mean() * np.linspace(0.5, 2, 6)[:, None] * np.ones((1, 4))
    damped = [cov_xx + ridge * np.eye(6) for ridge in np.asarray(path.ridge)]
    free = np.array([1 + np.trace(cov_xx @ np.linalg.inv(one)) for one in damped])
    found, clear = [], []
    for _ in range(60):
        noisy = moments._replace(cov_xy=cov_xy + noise * rng.normal(size=(6, 4)))
        path = fit_ridge(noisy, penalties=PENALTIES)
        found.append(np.asarray(select_by_gcv(path, noisy, noise=noise).r2))
        maps = [ridge_at(path, place).map for place in range(3)]
        read = [np.asarray(apply_map(one, x)) for one in maps]
        left = np.array([np.sum((y - one) ** 2) for one in read])
        share = left / len(x) / np.trace(cov_yy)
        clear.append(1 - share / (1 - free / len(x)) ** 2)
        assert (np.asarray(select_by_gcv(path, noisy).r2) > found[-1]).all()
    off = np.mean(found, axis=0) - np.mean(clear, axis=0)
    error = np.std(np.subtract(found, clear), axis=0) / np.sqrt(60)
    assert (np.abs(off) < 5 * error).all()
    with pytest.raises(ValueError, match="noise"):
        select_by_gcv(path, noisy, noise=noise.T)
