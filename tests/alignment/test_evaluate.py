"""Evaluation from moments and from rows: equal to scikit-learn on the rows."""

import jax
import numpy as np
import pytest
from sklearn.metrics import mean_squared_error, r2_score

from helix_jax.alignment import (
    AffineMap,
    accumulate,
    apply_map,
    evaluate_map,
    fit_ridge,
    from_batch,
    mean_map,
    ridge_at,
    row_cosine,
    score_rows,
)


@pytest.fixture
def case(make_planted):
    x, y, *_ = make_planted(400, 8, 5, noise=1.0, condition=30, mean_over_std=3)
    affine = ridge_at(fit_ridge(from_batch(x[:200], y[:200]), penalties=0.1), 0).map
    x, y = x[200:], y[200:]
    return x, y, affine, x @ np.asarray(affine.kernel) + np.asarray(affine.bias)


@pytest.mark.parametrize("jitted", [False, True])
def test_equal_to_scores_on_the_rows(case, jitted):
    x, y, affine, y_hat = case
    evaluate = jax.jit(evaluate_map) if jitted else evaluate_map
    got = evaluate(affine, from_batch(x, y))
    want = r2_score(y, y_hat, multioutput="variance_weighted")
    assert 0.5 < want < 0.99
    assert float(got.r2) == pytest.approx(want, abs=1e-9)
    np.testing.assert_allclose(
        got.r2_by_dimension, r2_score(y, y_hat, multioutput="raw_values"), atol=1e-9
    )
    assert float(got.r2_mean) == pytest.approx(r2_score(y, y_hat), abs=1e-9)
    assert float(got.mse) == pytest.approx(mean_squared_error(y, y_hat), rel=1e-9)
    pooled = (y * y_hat).sum() / np.sqrt((y**2).sum() * (y_hat**2).sum())
    assert float(got.pooled_cosine) == pytest.approx(pooled, abs=1e-9)
    u, v = y - y.mean(0), y_hat - y_hat.mean(0)
    centred = (u * v).sum() / np.sqrt((u**2).sum() * (v**2).sum())
    assert float(got.centred_cosine) == pytest.approx(centred, abs=1e-9)
    residual = np.cov((y - y_hat).T, bias=True)
    want = np.linalg.eigvalsh(residual)[::-1]
    np.testing.assert_allclose(got.residual_spectrum, want, rtol=1e-7)
    assert float(got.condition) == pytest.approx(
        np.linalg.cond(np.asarray(affine.kernel)), rel=1e-9
    )


def test_a_perfect_map_and_the_mean_map(make_planted):
    x, y, kernel, bias = make_planted(300, 6, 4)
    moments = from_batch(x, y)
    perfect = evaluate_map(AffineMap(kernel, bias), moments)
    assert float(perfect.r2) == pytest.approx(1, abs=1e-12)
    assert float(perfect.pooled_cosine) == pytest.approx(1, abs=1e-12)
    constant = evaluate_map(mean_map(moments), moments)
    assert float(constant.r2) == pytest.approx(0, abs=1e-12)
    assert float(constant.centred_cosine) == 0


def test_constant_target_dimensions_score_as_in_scikit_learn(case):
    x, y, affine, y_hat = case
    y = y.copy()
    y[:, 0] = 2.5
    got = evaluate_map(affine, from_batch(x, y))
    assert float(got.r2_mean) == pytest.approx(r2_score(y, y_hat), abs=1e-9)


def test_row_scores_equal_the_mean_over_rows(case):
    x, y, affine, y_hat = case
    centre = y.mean(0) + 0.1
    batches = ((x[i : i + 64], y[i : i + 64]) for i in range(0, len(x), 64))
    got = score_rows(affine, batches, centre=centre)

    def cosine(a, b):
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        return ((a * b).sum(1) / norms).mean()

    assert float(got.count) == 200
    assert float(got.cosine) == pytest.approx(cosine(y_hat, y), abs=1e-9)
    want = cosine(y_hat - centre, y - centre)
    assert float(got.centred_cosine) == pytest.approx(want, abs=1e-9)
    want = ((y_hat - y) ** 2).sum(1).mean()
    assert float(got.squared_error) == pytest.approx(want, rel=1e-9)
    np.testing.assert_allclose(apply_map(affine, x), y_hat, rtol=2e-4, atol=1e-4)


def test_zero_rows_have_cosine_zero():
    a = np.array([[0.0, 0.0], [1.0, 0.0]])
    np.testing.assert_array_equal(row_cosine(a, np.ones((2, 2)))[0], 0)


def test_bad_input_is_refused(case):
    x, y, affine, _ = case
    with pytest.raises(ValueError, match=r"the map is \[8, 5\], .* \[8, 8\]"):
        evaluate_map(affine, from_batch(x, x))
    with pytest.raises(ValueError, match="centre needs width 5, got 8"):
        score_rows(affine, [(x, y)], centre=np.zeros(8))
    with pytest.raises(ValueError, match="x needs width 8, got 5"):
        score_rows(affine, [(y, y)], centre=np.zeros(5))
    y[4, 0] = np.inf
    with pytest.raises(ValueError, match="y holds NaN or infinity, first in row 4"):
        accumulate([(x, y)])
