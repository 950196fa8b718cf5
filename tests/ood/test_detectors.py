"""Every detector: an independent twin, planted strange rows, bad input."""

import jax
import numpy as np
import pytest
from scipy.linalg import pinv
from scipy.spatial.distance import cdist
from scipy.special import log_softmax, logsumexp
from scipy.stats import entropy
from sklearn.covariance import EmpiricalCovariance
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import NearestNeighbors

from helix_jax.ood import (
    DETECTORS,
    cosine_score,
    detection_metrics,
    entropy_score,
    fit_class_means,
    fit_detectors,
    fit_mahalanobis,
    fit_neighbours,
    fit_one_class,
    fit_vim,
    mahalanobis_score,
    max_logit_score,
    max_softmax_score,
    neighbour_score,
    one_class_score,
    relative_mahalanobis_score,
    vim_score,
)
from helix_jax.probes import fit_probes

CLASSES, WIDTH = 4, 12


@pytest.fixture(scope="module")
def known():
    """Rows of four classes in a subspace, with some noise; a probe; strange rows."""
    generator = np.random.default_rng(0)
    basis = np.linalg.qr(generator.normal(size=(WIDTH, WIDTH)))[0]
    labels = generator.integers(0, CLASSES, 900).astype(np.int32)
    latent = generator.normal(size=(900, 6)) + 6 * np.eye(CLASSES, 6)[labels]
    x = latent @ basis[:6] + 0.2 * generator.normal(size=(900, WIDTH)) + 2.0
    strange = generator.normal(size=(300, WIDTH)) @ basis * 1.5 + 2.0
    fit, test = slice(0, 600), slice(600, None)
    path = fit_probes(x[fit], labels[fit], num_classes=CLASSES, penalties=1e-2)
    probe = jax.tree.map(lambda leaf: leaf[0], path.probe)
    return x[fit], labels[fit], x[test], strange, probe


def test_scores_of_logits_equal_scipy():
    logits = np.random.default_rng(0).normal(size=(50, 7)) * 8
    log_p = log_softmax(logits, axis=1)
    wanted = {
        max_softmax_score: -np.exp(log_p).max(1),
        max_logit_score: -logits.max(1),
        entropy_score: entropy(np.exp(log_p), axis=1),
    }
    for score, value in wanted.items():
        np.testing.assert_allclose(score(logits), value, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(jax.jit(score)(logits), value, rtol=1e-4, atol=1e-6)
        assert score(logits.astype(np.float32)).dtype == np.float32
    assert float(entropy_score(np.array([0.0, -np.inf]))) == 0


@pytest.mark.slow
def test_mahalanobis_equals_scikit_learn(known):
    x, labels, test, *_ = known
    fitted = fit_mahalanobis(x, labels, num_classes=CLASSES, penalty=0.0)
    twin = LinearDiscriminantAnalysis(solver="lsqr", store_covariance=True)
    twin.fit(x, labels)
    inverse = np.linalg.inv(twin.covariance_)
    wanted = cdist(test, twin.means_, "mahalanobis", VI=inverse).min(1) ** 2
    np.testing.assert_allclose(mahalanobis_score(fitted, test), wanted, rtol=1e-6)
    background = EmpiricalCovariance().fit(x).mahalanobis(test)
    np.testing.assert_allclose(
        relative_mahalanobis_score(fitted, test),
        wanted - background,
        rtol=1e-5,
        atol=1e-5,
    )


def test_mahalanobis_does_not_change_under_a_linear_map(known):
    x, labels, test, *_ = known
    turn = np.random.default_rng(1).normal(size=(WIDTH, WIDTH))
    scores = [
        mahalanobis_score(
            fit_mahalanobis(x @ m, labels, num_classes=CLASSES, penalty=0.0), test @ m
        )
        for m in (np.eye(WIDTH), turn)
    ]
    np.testing.assert_allclose(*scores, rtol=1e-6)


@pytest.mark.parametrize("k", [1, 7])
def test_neighbours_equal_scikit_learn_however_blocked(known, k):
    x, _, test, *_ = known
    unit = [z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, test)]
    twin = NearestNeighbors(n_neighbors=k).fit(unit[0])
    wanted = twin.kneighbors(unit[1])[0][:, -1]
    bank = fit_neighbours(x, k=k)
    for blocks in ({}, {"block_rows": 37, "bank_rows": 101}, {"bank_rows": 3}):
        found = neighbour_score(bank, test, **blocks)
        np.testing.assert_allclose(found, wanted, atol=2e-4)
    assert neighbour_score(bank, test[:0]).shape == (0,)


def test_duplicate_rows_are_their_own_neighbours(known):
    x, *_ = known
    bank = fit_neighbours(np.vstack([x, x]), k=2)
    np.testing.assert_allclose(neighbour_score(bank, x), 0, atol=1e-3)


def test_cosine_to_class_means(known):
    x, labels, test, *_ = known
    means = np.stack([x[labels == c].mean(0) for c in range(CLASSES)])
    wanted = cdist(test - x.mean(0), means - x.mean(0), "cosine").min(1)
    fitted = fit_class_means(x, labels, num_classes=CLASSES)
    np.testing.assert_allclose(cosine_score(fitted, test), wanted, atol=1e-6)


def test_vim_equals_its_definition(known):
    x, _, test, _, probe = known
    kernel, bias = np.asarray(probe.kernel), np.asarray(probe.bias)
    origin = -pinv(kernel.T) @ bias
    moments = EmpiricalCovariance(assume_centered=True).fit(x - origin).covariance_
    values, vectors = np.linalg.eig(moments)
    residual = vectors[:, np.argsort(-values)[5:]]
    length = np.linalg.norm((x - origin) @ residual, axis=1)
    alpha = (x @ kernel + bias).max(1).mean() / length.mean()
    virtual = alpha * np.linalg.norm((test - origin) @ residual, axis=1)
    wanted = virtual - logsumexp(test @ kernel + bias, axis=1)
    fitted = fit_vim(probe, x, dimension=5)
    np.testing.assert_allclose(vim_score(fitted, test), wanted, rtol=1e-3, atol=1e-3)


def test_one_class_is_least_squares_of_one(known):
    x, _, test, *_ = known
    fitted = fit_one_class(x.mean(0), np.cov(x.T, bias=True), penalty=1e-3)
    ridge = 1e-3 * (x**2).mean() * np.eye(WIDTH)
    weights = np.linalg.solve(x.T @ x / len(x) + ridge, x.mean(0))
    np.testing.assert_allclose(fitted.weights, weights, rtol=1e-5)
    np.testing.assert_allclose(
        one_class_score(fitted, test), abs(1 - test @ weights), atol=1e-5
    )


@pytest.mark.parametrize("name", DETECTORS)
def test_higher_is_stranger(known, name):
    x, labels, test, strange, probe = known
    fitted = fit_detectors(probe, x, labels)
    scores = [np.asarray(DETECTORS[name](fitted, z)) for z in (test, strange)]
    assert [one.shape for one in scores] == [(300,), (300,)]
    assert detection_metrics(*scores).auroc > 0.65


@pytest.mark.slow
def test_few_rows_constants_and_absent_classes():
    """More dimensions than rows, a constant one, a class without rows: finite."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(20, 30))
    x[:, 3] = 5.0
    labels = np.arange(20, dtype=np.int32) % 3
    path = fit_probes(x, labels, num_classes=5, penalties=1e-2)
    probe = jax.tree.map(lambda leaf: leaf[0], path.probe)
    fitted = fit_detectors(probe, x, labels)
    for name, score in DETECTORS.items():
        assert np.isfinite(np.asarray(score(fitted, x + 0.1))).all(), name
    left_out = fit_mahalanobis(x, labels, num_classes=5, penalty=0.0)
    moved = x[:5] + 100 * np.eye(30)[3]
    np.testing.assert_allclose(
        mahalanobis_score(left_out, moved),
        mahalanobis_score(left_out, x[:5]),
        atol=1e-6,
    )


def test_bad_input_is_refused(known):
    x, labels, test, _, probe = known
    one = np.zeros(600, np.int32)
    for fit in (fit_mahalanobis, fit_class_means):
        with pytest.raises(ValueError, match="at least 2 classes, got only"):
            fit(x, one, num_classes=CLASSES)
        with pytest.raises(ValueError, match=r"labels need to lie in \[0, 4\)"):
            fit(x, labels - 1, num_classes=CLASSES)
        with pytest.raises(ValueError, match=r"labels need shape \[600\]"):
            fit(x, labels[:5], num_classes=CLASSES)
        with pytest.raises(ValueError, match="do not vary"):
            fit(np.ones_like(x), labels, num_classes=CLASSES)
        bad = x.copy()
        bad[2, 1] = np.inf
        with pytest.raises(ValueError, match="x holds NaN or infinity, first in row 2"):
            fit(bad, labels, num_classes=CLASSES)
    with pytest.raises(ValueError, match="penalty must not be negative"):
        fit_mahalanobis(x, labels, num_classes=CLASSES, penalty=-1.0)
    with pytest.raises(ValueError, match="k needs to be from 1 to the 600 rows"):
        fit_neighbours(x, k=601)
    with pytest.raises(ValueError, match="dimension needs to be from 1 to 11"):
        fit_vim(probe, x, dimension=WIDTH)
    with pytest.raises(ValueError, match="penalty must be positive"):
        fit_one_class(x.mean(0), np.eye(WIDTH), penalty=0.0)
    with pytest.raises(ValueError, match="the mean is zero"):
        fit_one_class(np.zeros(WIDTH), np.eye(WIDTH))
    fitted = fit_detectors(probe, x, labels)
    for score in DETECTORS.values():
        with pytest.raises(ValueError, match="x needs width 12, got 3"):
            score(fitted, test[:, :3])
    for name in ("mahalanobis", "knn", "cosine", "vim", "one_class"):
        with pytest.raises(ValueError, match="x holds NaN"):
            DETECTORS[name](fitted, np.full((2, WIDTH), np.nan))
