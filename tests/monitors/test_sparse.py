"""Sparse directions against scikit-learn's and their own optimality."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from helix_jax.monitors import fit_sparse, select_sparse

RNG = np.random.default_rng(0)
SCALES = np.geomspace(0.01, 100, 30)


def rows(count):
    x = RNG.normal(size=(count, 30))
    odds = 2 * x[:, 3] - 2 * x[:, 7] + 0.5
    return x * SCALES + 3, (odds + RNG.logistic(size=count) > 0).astype(int)


X, LABELS = rows(300)


def test_the_optimum_is_that_of_scikit_learn():
    path = fit_sparse(X, LABELS, shares=(0.05, 0.3), tolerance=1e-6, max_steps=20_000)
    assert np.asarray(path.ok).all()
    mean, std = X.mean(0), X.std(0)
    for penalty, vector, bias in zip(path.penalties, path.vectors, path.biases):
        twin = LogisticRegression(
            l1_ratio=1,
            C=1 / (len(X) * float(penalty)),
            solver="saga",
            tol=1e-9,
            max_iter=100_000,
        ).fit((X - mean) / std, LABELS)
        np.testing.assert_allclose(np.asarray(vector) * std, twin.coef_[0], atol=2e-4)
        scores = X @ np.asarray(vector) + float(bias)
        wanted = twin.decision_function((X - mean) / std)
        np.testing.assert_allclose(scores, wanted, atol=2e-3)


def test_a_strong_penalty_keeps_the_planted_features_alone():
    vectors = np.asarray(fit_sparse(X, LABELS, shares=(0.5,)).vectors)
    assert set(np.flatnonzero(vectors[0])) == {3, 7}


def test_the_select_split_chooses_and_the_scale_of_a_feature_does_not_matter():
    held = rows(300)
    chosen = select_sparse(fit_sparse(X, LABELS), *held)
    assert chosen.failure is None
    assert np.asarray(chosen.nll_nats).min() < 0.5
    scaled = select_sparse(fit_sparse(X / SCALES, LABELS), held[0] / SCALES, held[1])
    np.testing.assert_allclose(
        scaled.vector, np.asarray(chosen.vector) * SCALES, atol=1e-3
    )


def test_a_fit_that_was_stopped_early_says_so():
    path = fit_sparse(X, LABELS, shares=(0.01,), max_steps=3)
    assert not np.asarray(path.ok).any()
    chosen = select_sparse(path, X, LABELS)
    assert "has not converged" in chosen.failure


@pytest.mark.parametrize(
    ("x", "labels", "shares", "said"),
    [
        (X, np.ones(300, int), (0.5,), "at least 2 classes"),
        (X, LABELS, (1.5,), "between 0 and 1"),
        (np.ones((300, 2)), LABELS, (0.5,), "do not vary"),
        (np.full((300, 2), np.nan), LABELS, (0.5,), "NaN"),
    ],
)
def test_bad_input_is_refused(x, labels, shares, said):
    with pytest.raises(ValueError, match=said):
        fit_sparse(x, labels, shares=shares)
