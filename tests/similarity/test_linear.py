"""The CCA family, Procrustes, predictivity, heads: twins, planted truths, guards."""

import jax
import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import r2_score

from helix_jax.alignment import from_batch
from helix_jax.similarity import (
    calibrate,
    canonical_directions,
    cca_null,
    centred_row_cosine,
    linear_predictivity,
    mean_cca,
    moments_null,
    predictivity_null,
    procrustes_distance,
    pwcca,
    row_agreement,
    row_divergence,
    rows_null,
    score_directions,
    svcca,
    swapped,
)
from tests.similarity import twins


def _whitened(x, rank):
    u, s, vt = np.linalg.svd(x - x.mean(0), full_matrices=False)
    rank = min(rank, int((s > 1e-9 * s[0]).sum()))
    return u[:, :rank], vt[:rank].T / s[:rank], rank


def _numpy_cca(x, y, rank):
    """Correlations by the QR or SVD way of Bjorck and Golub 1973."""
    (a, to_a, _), (b, to_b, _) = _whitened(x, rank), _whitened(y, rank)
    u, s, vt = np.linalg.svd(a.T @ b, full_matrices=False)
    return s, to_a @ u, to_b @ vt.T


@pytest.mark.parametrize("rank", [3, 100])
def test_cca_family_equals_numpy(rank):
    x, y = twins.planted(400, shift=10.0)
    x = x @ np.diag(np.arange(1, 8))
    s, to_x, _ = _numpy_cca(x, y, rank)
    moments = from_batch(x, y)
    assert float(svcca(moments, rank=rank)) == pytest.approx(s.mean(), rel=1e-9)
    if rank == 100:
        assert float(mean_cca(moments)) == pytest.approx(s.mean(), rel=1e-9)
    u = x - x.mean(0)
    weights = np.abs((u @ to_x).T @ u).sum(1)
    want = (weights * s).sum() / weights.sum()
    assert float(pwcca(moments, rank=rank)) == pytest.approx(want, rel=1e-9)


def test_held_out_scores_equal_correlations_of_the_variates():
    x, y = twins.planted(900)
    fit, test = (from_batch(x[i], y[i]) for i in (slice(600), slice(600, 900)))
    found = canonical_directions(fit, rank=4)
    a, b = x[600:] @ np.asarray(found.x), y[600:] @ np.asarray(found.y)
    want = [np.corrcoef(a[:, i], b[:, i])[0, 1] for i in range(4)]
    np.testing.assert_allclose(score_directions(found, test), want, rtol=1e-8)
    assert float(svcca(fit, test, rank=4)) == pytest.approx(np.mean(want), rel=1e-8)
    assert float(jax.jit(mean_cca)(fit, test)) == pytest.approx(
        float(mean_cca(fit, test)), rel=1e-4
    )


def test_only_held_out_scores_are_near_zero_for_independent_sides():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 1200, 20))
    fit, test = (from_batch(x[i], y[i]) for i in (slice(400), slice(400, 1200)))
    for measure in (mean_cca, pwcca):
        assert float(measure(fit)) > 0.15
        assert abs(float(measure(fit, test))) < 0.03
    assert float(procrustes_distance(fit)) < 1.3
    assert float(procrustes_distance(fit, test)) == pytest.approx(2**0.5, abs=0.03)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000), st.floats(0.1, 10), st.floats(-5, 5))
def test_invariances(seed, scale, shift):
    x, y = twins.planted(200, seed=seed)
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(7, 7)))[0]
    mixing = rotation * rng.uniform(0.5, 2, 7)
    plain = from_batch(x, y)
    rotated = from_batch(scale * x @ rotation + shift, y)
    mixed = from_batch(x @ mixing + shift, y)
    for measure in (mean_cca, procrustes_distance, lambda m: svcca(m, rank=3)):
        assert float(measure(rotated)) == pytest.approx(float(measure(plain)), rel=1e-7)
    # CCA alone does not see any invertible map.
    assert float(mean_cca(mixed)) == pytest.approx(float(mean_cca(plain)), rel=1e-7)
    same = from_batch(x, scale * x @ rotation)
    assert float(procrustes_distance(same)) < 1e-6
    assert float(mean_cca(same)) == pytest.approx(1, abs=1e-9)
    assert float(mean_cca(swapped(plain))) == pytest.approx(float(mean_cca(plain)))


def test_procrustes_equals_scipy():
    x, y = twins.planted(100, 6, 6)
    _, _, disparity = scipy.spatial.procrustes(x, y)  # 1 - (sum of singular values)^2
    shared = np.sqrt(1 - disparity)
    want = np.sqrt(2 - 2 * shared)
    assert float(procrustes_distance(from_batch(x, y))) == pytest.approx(want, rel=1e-9)
    u, v = (z / np.linalg.norm(z) for z in (x - x.mean(0), y - y.mean(0)))
    rotation, _ = scipy.linalg.orthogonal_procrustes(u, v)
    assert np.linalg.norm(u @ rotation - v) == pytest.approx(want, rel=1e-9)


def test_predictivity_equals_scikit_learn():
    x, y = twins.planted(300, shift=3.0)
    fit, test = (from_batch(x[i], y[i]) for i in (slice(200), slice(200, 300)))
    for penalty in (0.0, 0.1):
        alpha = penalty * 200 * np.var(x[:200], axis=0).mean()
        model = Ridge(alpha=alpha) if penalty else LinearRegression()
        predicted = model.fit(x[:200], y[:200]).predict(x[200:])
        want = r2_score(y[200:], predicted, multioutput="variance_weighted")
        got = linear_predictivity(fit, test, penalties=penalty)
        assert float(got) == pytest.approx(want, rel=1e-9)
    with pytest.raises(ValueError, match="The test rows must not choose"):
        linear_predictivity(fit, test)


def test_heads_equal_scipy_and_ties_go_to_the_first():
    rng = np.random.default_rng(0)
    a, b = 3 * rng.normal(size=(2, 50, 6))
    p, q = (scipy.special.softmax(z, axis=1) for z in (a, b))
    want = jensenshannon(p, q, axis=1) ** 2
    np.testing.assert_allclose(row_divergence(a, b), want, rtol=1e-8, atol=1e-12)
    np.testing.assert_array_equal(row_agreement(a, b), a.argmax(1) == b.argmax(1))
    sure = np.array([[0.0, -1e30], [1.0, 1.0]])
    got = np.asarray(row_divergence(sure, sure[:, ::-1]))
    np.testing.assert_allclose(got, [np.log(2), 0], atol=1e-12)
    np.testing.assert_array_equal(row_agreement(sure, sure + 5), [1, 1])
    centre = a.mean(0)
    want = np.sum((a - centre) * (b - centre), 1) / (
        np.linalg.norm(a - centre, axis=1) * np.linalg.norm(b - centre, axis=1)
    )
    np.testing.assert_allclose(centred_row_cosine(a, b, centre), want, rtol=1e-9)
    with pytest.raises(ValueError, match="NaN or infinity, first in row 1"):
        row_divergence(a, np.where(np.arange(50)[:, None] == 1, np.nan, b))


def _orders(key, count, rows):
    return [
        np.argsort(np.asarray(jax.random.permutation(jax.random.fold_in(key, i), rows)))
        for i in range(count)
    ]


@pytest.mark.slow
def test_nulls_equal_recomputing():
    x, y = twins.planted(150)
    key = jax.random.key(5)
    settings = {"permutations": 3, "key": key}
    orders = _orders(key, 3, 150)
    for null, measure in (
        (cca_null((x, y), rank=3, **settings), lambda m: svcca(m, rank=3)),
        (
            cca_null((x, y), rank=3, weighted=True, **settings),
            lambda m: pwcca(m, rank=3),
        ),
        (moments_null(procrustes_distance, (x, y), **settings), procrustes_distance),
        (moments_null(mean_cca, (x, y), **settings), mean_cca),
    ):
        want = [float(measure(from_batch(x, y[order]))) for order in orders]
        np.testing.assert_allclose(null, want, rtol=1e-8)
    score = rows_null(row_agreement, x, np.roll(x, 1, 1), **settings)
    order = np.asarray(jax.random.permutation(jax.random.fold_in(key, 0), 150))
    want = np.mean(np.asarray(row_agreement(x, np.roll(x, 1, 1)[order])))
    assert float(score[0]) == pytest.approx(float(want))


def test_held_out_nulls_shuffle_both_splits():
    x, y = twins.planted(200)
    fit, test = (x[:140], y[:140]), (x[140:], y[140:])
    key = jax.random.key(5)
    settings = {"permutations": 2, "key": key, "test": test}
    nulls = {
        "r2": predictivity_null(fit, penalty=0.1, **settings),
        "cca": cca_null(fit, rank=3, **settings),
    }
    for number in range(2):
        order = np.asarray(jax.random.permutation(jax.random.fold_in(key, number), 140))
        records = [
            from_batch(a, b[np.argsort(order[: len(a)])]) for a, b in (fit, test)
        ]
        want = float(linear_predictivity(*records, penalties=0.1))
        assert float(nulls["r2"][number]) == pytest.approx(want, rel=1e-8)
        want = float(svcca(*records, rank=3))
        assert float(nulls["cca"][number]) == pytest.approx(want, rel=1e-8)


def test_calibration_puts_chance_at_zero_and_the_best_at_one():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 60, 20))
    null = moments_null(_distance, (x, y), permutations=200)
    for score, want in ((0.0, 1.0), (float(np.mean(np.asarray(null))), 0.0)):
        got = calibrate(score, null, best=0.0)
        assert float(got.calibrated) == pytest.approx(want, abs=1e-6)
    assert float(calibrate(0.0, null, best=0.0).p) == pytest.approx(1 / 201)
    assert float(calibrate(0.0, null, best=0.0).z) > 5
    independent = calibrate(_distance(from_batch(x, y)), null, best=0.0)
    assert 0.01 < float(independent.p) < 0.99
    still = calibrate(0.5, np.full(9, 0.2))
    assert np.isnan(float(still.z))
    assert float(still.calibrated) == pytest.approx(0.375)


def _distance(fit, test=None):
    return procrustes_distance(fit, test, allow_few_rows=True)


def test_few_rows_for_the_rank_are_refused_unless_asked_for():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 64, 50))
    moments = from_batch(x, y)
    message = "64 rows are too few for 100 directions, 5 per direction .* smaller rank"
    for measure in (mean_cca, pwcca):
        with pytest.raises(ValueError, match=message):
            measure(moments)
        assert float(measure(moments, allow_few_rows=True)) > 0.7  # of random rows
    with pytest.raises(ValueError, match="64 rows are too few for 50 directions"):
        procrustes_distance(moments)
    assert float(svcca(moments, rank=6)) < 0.6


@pytest.mark.slow
def test_rank_deficient_constant_and_fewer_rows_than_widths():
    x, y = twins.planted(300)
    plain = from_batch(x, y)
    deficient = from_batch(np.concatenate([x, x @ np.ones((7, 2))], axis=1), y)
    found = canonical_directions(deficient)
    assert int(found.kept.sum()) == 5
    assert float(mean_cca(deficient)) == pytest.approx(float(mean_cca(plain)), rel=1e-8)
    constant = from_batch(np.full((300, 3), 0.1), y)
    for measure in (mean_cca, pwcca, procrustes_distance):
        assert np.isnan(float(measure(constant)))
    few = from_batch(x[:4], y[:4])
    assert float(mean_cca(few, allow_few_rows=True)) == pytest.approx(1)
    fewest = canonical_directions(plain, variance=1e-6)
    assert int(fewest.kept.sum()) == 1
    with pytest.raises(ValueError, match=r"variance in \(0, 1\], got None and 0"):
        canonical_directions(plain, variance=0)
    with pytest.raises(ValueError, match=r"fitted on widths \[7, 5\], .* \[5, 7\]"):
        score_directions(canonical_directions(plain), swapped(plain))
    with pytest.raises(ValueError, match="holds NaN or infinity"):
        mean_cca(plain._replace(cov_xy=np.asarray(plain.cov_xy) * np.nan))
    with pytest.raises(ValueError, match="x holds NaN or infinity, first in row 0"):
        moments_null(mean_cca, (x * np.nan, y))
