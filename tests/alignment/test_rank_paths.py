"""CCA, whitened maps, reduced rank, PLS: twins, identities, bad input."""

import jax
import numpy as np
import pytest
from scipy.linalg import qr, svdvals
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from helix_jax.alignment import (
    canonical_factors,
    evaluate_map,
    fit_canonical,
    fit_least_squares,
    fit_pls,
    fit_reduced_rank,
    fit_ridge,
    from_batch,
    map_at,
    path_maps,
    path_r2,
    rank_grid,
    ridge_at,
    select_map,
)

PATHS = {
    "cca": lambda m, **kw: fit_canonical(m, **kw),
    "whitened": lambda m, **kw: fit_canonical(m, shrink=False, **kw),
    "reduced_rank": fit_reduced_rank,
    "pls": fit_pls,
}


def centred(z):
    return z - z.mean(0)


@pytest.fixture(scope="module")
def rows(make_planted):
    x, y, *_ = make_planted(400, 12, 7, noise=4.0, condition=30, mean_over_std=3.0)
    return x, y


@pytest.mark.parametrize("name", PATHS)
def test_a_path_scores_as_its_maps_do_on_rows(rows, name):
    x, y = rows
    path = PATHS[name](from_batch(x[:250], y[:250]), ranks=[1, 2, 4, 7])
    held = from_batch(x[250:], y[250:])
    maps = path_maps(path)
    scores = [
        r2_score(
            y[250:],
            x[250:] @ np.asarray(maps.map.kernel[i]) + np.asarray(maps.map.bias[i]),
            multioutput="variance_weighted",
        )
        for i in range(4)
    ]
    np.testing.assert_allclose(path_r2(path, held), scores, atol=1e-5)
    chosen = select_map(path, held)
    assert int(chosen.index) == int(np.argmax(scores))
    assert bool(chosen.fit.ok)
    np.testing.assert_array_equal(maps.rank, [1, 2, 4, 7])
    for i, rank in enumerate([1, 2, 4, 7]):
        kernel = np.asarray(maps.map.kernel[i])
        assert np.linalg.matrix_rank(kernel, tol=1e-5) == rank


@pytest.mark.parametrize("name", PATHS)
def test_jitted_paths_are_the_same(rows, name):
    x, y = rows
    moments = from_batch(x, y)

    def fit(moments):
        return map_at(PATHS[name](moments, ranks=[3]), 0).map.kernel

    np.testing.assert_allclose(jax.jit(fit)(moments), fit(moments), atol=1e-5)


def test_canonical_correlations_are_the_cosines_between_the_column_spaces(rows):
    x, y = rows
    found = canonical_factors(from_batch(x, y), penalty=0.0)
    spaces = (qr(centred(z), mode="economic")[0] for z in (x, y))
    wanted = svdvals(next(spaces).T @ next(spaces))
    np.testing.assert_allclose(found.values, wanted, atol=1e-6)
    variates = centred(x) @ np.asarray(found.left)
    np.testing.assert_allclose(variates.T @ variates / len(x), np.eye(7), atol=1e-4)


@pytest.mark.parametrize("rank", [1, 3, 7])
def test_cca_is_regression_on_the_canonical_variates(rows, rank):
    x, y = rows
    moments = from_batch(x, y)
    variates = x @ np.asarray(canonical_factors(moments, penalty=0.0).left)[:, :rank]
    twin = LinearRegression().fit(variates, y)
    found = map_at(fit_canonical(moments, ranks=[rank], penalty=0.0), 0).map
    mapped = x @ np.asarray(found.kernel) + np.asarray(found.bias)
    np.testing.assert_allclose(mapped, twin.predict(variates), atol=1e-3)


def test_at_full_rank_cca_is_least_squares_and_whitened_has_the_targets_spread(rows):
    x, y = rows
    moments = from_batch(x, y)
    kernel = map_at(fit_canonical(moments, ranks=[7], penalty=0.0), 0).map.kernel
    squares = fit_least_squares(moments).map.kernel
    np.testing.assert_allclose(kernel, squares, atol=1e-5)
    path = fit_canonical(moments, ranks=[7], penalty=0.0, shrink=False)
    mapped = x @ np.asarray(map_at(path, 0).map.kernel)
    np.testing.assert_allclose(np.cov(mapped.T), np.cov(y.T), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("rank", [1, 3, 6])
def test_reduced_rank_is_least_squares_seen_through_its_own_components(rows, rank):
    x, y = rows
    squares = LinearRegression().fit(x, y).coef_.T
    components = np.linalg.svd(centred(x) @ squares)[2][:rank].T
    found = map_at(fit_reduced_rank(from_batch(x, y), ranks=[rank], penalty=0.0), 0)
    wanted = squares @ components @ components.T
    np.testing.assert_allclose(found.map.kernel, wanted, atol=1e-5)


def test_reduced_rank_fits_best_and_is_ridge_at_full_rank(rows):
    x, y = rows
    moments = from_batch(x, y)
    scores = {
        name: np.asarray(path_r2(path(moments, ranks=range(1, 8)), moments))
        for name, path in PATHS.items()
    }
    for name in ("cca", "whitened", "pls"):
        assert (scores["reduced_rank"] >= scores[name] - 1e-6).all(), name
    full = map_at(fit_reduced_rank(moments, ranks=[7], penalty=0.1), 0)
    ridge = ridge_at(fit_ridge(moments, penalties=0.1), 0)
    np.testing.assert_allclose(full.map.kernel, ridge.map.kernel, atol=1e-5)
    np.testing.assert_allclose(full.condition, ridge.condition, rtol=1e-5)


@pytest.mark.parametrize(("dx", "dy"), [(12, 7), (7, 12), (10, 1)])
def test_pls_equals_scikit_learn(make_planted, dx, dy):
    x, y, *_ = make_planted(300, dx, dy, noise=2.0, condition=20, mean_over_std=2.0)
    ranks = range(1, min(dx, dy) + 1)
    path = fit_pls(from_batch(x, y), ranks=ranks)
    for index, rank in enumerate(ranks):
        twin = PLSRegression(rank, scale=False, tol=1e-14, max_iter=50_000).fit(x, y)
        found = map_at(path, index)
        np.testing.assert_allclose(found.map.kernel, twin.coef_.T, atol=1e-5)
        mapped = x @ np.asarray(found.map.kernel) + np.asarray(found.map.bias)
        np.testing.assert_allclose(mapped, twin.predict(x), atol=1e-4)


def test_pls_stops_where_the_covariance_is_used_up(make_planted):
    x, y, *_ = make_planted(300, 3, 8)
    x = np.hstack([x, np.full((300, 2), 5.0), x[:, :2]])
    path = fit_pls(from_batch(x, y), ranks=[2, 3, 7])
    np.testing.assert_array_equal(path.rank, [2, 3, 3])
    assert bool(path.ok.all())
    exact = evaluate_map(map_at(path, 2).map, from_batch(x, y))
    np.testing.assert_allclose(exact.r2, 1, atol=1e-9)


@pytest.mark.parametrize("name", PATHS)
def test_fewer_rows_than_dimensions_duplicates_and_constants(make_planted, name):
    x, y, *_ = make_planted(20, 40, 30, noise=1.0)
    x, y = (np.vstack([z, z[:5]]) for z in (x, y))
    x[:, 3] = 7.0
    y[:, 4] = -2.0
    path = PATHS[name](from_batch(x, y), ranks=[1, 5, 30])
    maps = path_maps(path)
    assert bool(maps.ok.all())
    assert np.isfinite(np.asarray(maps.map.kernel)).all()
    assert int(path.rank[2]) <= 25
    np.testing.assert_allclose(maps.map.kernel[:, :, 4], 0, atol=1e-6)


@pytest.mark.parametrize("name", PATHS)
def test_constant_sources_are_not_ok(name):
    y = np.random.default_rng(0).normal(size=(50, 2))
    assert not bool(PATHS[name](from_batch(np.ones((50, 3)), y), ranks=[1]).ok[0])


@pytest.mark.parametrize("name", PATHS)
def test_nearly_singular_covariances_give_finite_maps(make_planted, name):
    x, y, *_ = make_planted(300, 10, 6, noise=0.1, condition=1e14)
    maps = path_maps(PATHS[name](from_batch(x, y), ranks=[1, 6]))
    assert np.isfinite(np.asarray(maps.map.kernel)).all()
    assert float(maps.condition[1]) > 1


def test_bad_input_is_refused(make_planted):
    x, y, *_ = make_planted(8, 8, 5)
    moments = from_batch(x, y)
    for name, path in PATHS.items():
        for ranks in ([], [0, 2], [6]):
            with pytest.raises(ValueError, match="ranks need to be from 1 to 5"):
                path(moments, ranks=ranks)
        with pytest.raises(ValueError, match="cov_xy of the moments holds NaN"):
            path(moments._replace(cov_xy=np.full((8, 5), np.nan)))
        with pytest.raises(ValueError, match="at least 2 rows"):
            path(from_batch(x[:1], y[:1]))
        if name != "pls":
            with pytest.raises(ValueError, match="needs more than 9 rows for 8"):
                path(moments, penalty=0.0)
            with pytest.raises(ValueError, match="must not be negative"):
                path(moments, penalty=-1.0)
    with pytest.raises(ValueError, match=r"the path maps \[8, 5\]"):
        select_map(fit_pls(moments), from_batch(x, x))


def test_the_grid_of_ranks():
    assert rank_grid(4) == (1, 2, 3, 4)
    assert len(rank_grid(768)) <= 20
    assert rank_grid(768)[-1] == 768
