"""Probes: scikit-learn's optimum on real features, `ok`, selection, bad input."""

import json

import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.datasets import load_digits
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from helix_jax.probes import Probe, fit_probes, predict_logits, select_probe, sklearn_c

GRID = [1e-4, 1.0, 1e-2]


def _objective(kernel, bias, ridge, x, labels):
    logits = x.astype(np.float64) @ np.asarray(kernel, np.float64) + np.asarray(bias)
    chosen = logits[np.arange(len(labels)), labels]
    penalty = ridge / 2 * (np.asarray(kernel, np.float64) ** 2).sum()
    return (logsumexp(logits, axis=1) - chosen).mean() + penalty


def _digits(classes=10, rows=1000):
    x, labels = load_digits(return_X_y=True)
    keep = labels < classes
    return x[keep][:rows].astype(np.float32) + 100, labels[keep][:rows].astype(np.int32)


@pytest.fixture(scope="module")
def digits():
    x, labels = _digits()
    return x, labels, fit_probes(x, labels, num_classes=10, penalties=GRID)


def test_equal_to_the_optimum_of_scikit_learn(digits):
    x, labels, path = digits
    assert np.asarray(path.ok).all()
    np.testing.assert_allclose(path.penalties, GRID)
    for index in range(3):
        ridge = float(path.ridge[index])
        twin = LogisticRegression(
            C=sklearn_c(ridge, len(x), 10), solver="newton-cg", tol=1e-7, max_iter=500
        ).fit(x.astype(np.float64) - 100, labels)
        bias = twin.intercept_ - 100 * twin.coef_.sum(1)
        want = _objective(twin.coef_.T, bias, ridge, x, labels)
        kernel, bias = (
            np.asarray(part)[index] for part in (path.probe.kernel, path.probe.bias)
        )
        got = _objective(kernel, bias, ridge, x, labels)
        assert got == pytest.approx(want, rel=1e-6)
        assert float(path.objective[index]) == pytest.approx(got, rel=1e-6)
        np.testing.assert_allclose(kernel, twin.coef_.T, atol=2e-2 * kernel.std())


@pytest.mark.slow
def test_equal_to_scikit_learn_on_text(shared):
    lines = (shared / "data" / "trec" / "train.jsonl").read_text().splitlines()[:1000]
    rows = [json.loads(line) for line in lines]
    names = sorted({row["label"] for row in rows})
    labels = np.array([names.index(row["label"]) for row in rows], np.int32)
    words = TfidfVectorizer().fit_transform(row["text"] for row in rows)
    x = TruncatedSVD(32, random_state=0).fit_transform(words).astype(np.float32)
    path = fit_probes(x, labels, num_classes=len(names), penalties=[1e-3, 1e-1])
    assert np.asarray(path.ok).all()
    for index in range(2):
        ridge = float(path.ridge[index])
        twin = LogisticRegression(
            C=sklearn_c(ridge, len(x), len(names)), solver="newton-cg", tol=1e-8
        ).fit(x.astype(np.float64), labels)
        want = _objective(twin.coef_.T, twin.intercept_, ridge, x, labels)
        got = _objective(
            path.probe.kernel[index], path.probe.bias[index], ridge, x, labels
        )
        assert 0.1 < want < 1.7
        assert got == pytest.approx(want, rel=1e-5)


def test_two_classes_equal_scikit_learn():
    x, labels = _digits(classes=2, rows=200)
    path = fit_probes(x, labels, num_classes=2, penalties=1e-2)
    ridge = float(path.ridge[0])
    twin = LogisticRegression(
        C=sklearn_c(ridge, len(x), 2), solver="newton-cg", tol=1e-8, max_iter=500
    ).fit(x.astype(np.float64) - 100, labels)
    np.testing.assert_allclose(
        np.asarray(predict_logits(_first(path.probe), x)) @ [-1, 1],
        twin.decision_function(x - 100),
        atol=1e-2,
    )


def _first(probe):
    return probe.replace(kernel=probe.kernel[0], bias=probe.bias[0])


def test_the_certificate_is_the_gradient(digits):
    x, labels, path = digits
    for index in range(3):
        kernel = np.asarray(path.probe.kernel)[index]
        logits = x.astype(np.float64) @ kernel + np.asarray(path.probe.bias)[index]
        p = np.exp(logits - logsumexp(logits, axis=1, keepdims=True))
        error = (p - np.eye(10)[labels]) / len(x)
        centred = x.astype(np.float64) - x.mean(0, dtype=np.float64)
        by_kernel = centred.T @ error + float(path.ridge[index]) * kernel
        norm = np.sqrt((by_kernel**2).sum() + (error.sum(0) ** 2).sum())
        assert float(path.gradient_norm[index]) == pytest.approx(norm, rel=1e-2)
        # Strong convexity bounds the true gap by |g|^2 / (2 ridge).
        assert float(path.gap[index]) <= norm**2 / (2 * float(path.ridge[index])) * 1.1
        assert float(path.gap[index]) < 1e-6 * float(path.objective[index])


def test_stopped_early_is_not_ok(digits):
    x, labels, _ = digits
    path = fit_probes(x, labels, num_classes=10, penalties=GRID, max_steps=1)
    assert not np.asarray(path.ok).any()


def test_selection_is_the_least_loss_on_the_select_rows(digits):
    _, _, path = digits
    x, labels = load_digits(return_X_y=True)
    x, labels = x[1000:].astype(np.float32) + 100, labels[1000:].astype(np.int32)
    chosen = select_probe(path, x, labels)
    losses = [
        _objective(path.probe.kernel[i], path.probe.bias[i], 0.0, x, labels)
        for i in range(3)
    ]
    np.testing.assert_allclose(chosen.nll_nats, losses, rtol=1e-4)
    assert int(chosen.index) == int(np.argmin(losses))
    assert float(chosen.penalty) == pytest.approx(GRID[int(np.argmin(losses))])
    predicted = np.asarray(predict_logits(chosen.probe, x)).argmax(1)
    best = float(chosen.accuracy[int(chosen.index)])
    assert best == pytest.approx((predicted == labels).mean())
    assert best > 0.9
    assert bool(chosen.ok)
    assert chosen.failure is None
    failed = chosen._replace(ok=np.bool_(False))
    assert f"penalty {float(chosen.penalty):g} has not converged" in failed.failure


def test_a_sure_mistake_costs_more_than_unsure_ones():
    """One probe is right in 9 of 10 rows and certain of all; one in 8, and doubts."""
    x = np.array([-1.0, -1, -1, -1, 1, 1, 1, 1, 0.2, 2])[:, None]
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 0])
    path = fit_probes(x, labels, num_classes=2, penalties=[1.0, 0.1])
    kernel = np.array([[[0.0, 100.0]], [[0.0, 1.0]]])
    bias = np.array([[0.0, 0.0], [0.0, -0.5]])
    chosen = select_probe(path._replace(probe=Probe(kernel, bias)), x, labels)
    np.testing.assert_allclose(chosen.accuracy, [0.9, 0.8])
    assert int(chosen.index) == 1


def test_relative_penalties_do_not_depend_on_scale_or_repetition():
    x, labels = _digits(classes=3, rows=150)
    x = x - 100
    one = fit_probes(x, labels, num_classes=3, penalties=0.1)
    twice = fit_probes(
        np.tile(100 * x, (2, 1)), np.tile(labels, 2), num_classes=3, penalties=0.1
    )
    kernel = np.asarray(one.probe.kernel)
    np.testing.assert_allclose(
        100 * np.asarray(twice.probe.kernel), kernel, atol=2e-3 * np.abs(kernel).max()
    )


def test_a_class_without_rows_is_never_predicted():
    x, labels = _digits(classes=3, rows=150)
    path = fit_probes(x, labels * 2, num_classes=6, penalties=0.1)
    assert bool(path.ok[0])
    logits = np.asarray(predict_logits(_first(path.probe), x))
    assert set(logits.argmax(1)) == {0, 2, 4}
    absent = np.asarray(path.probe.kernel)[0][:, [1, 3, 5]]
    np.testing.assert_allclose(absent, 0, atol=1e-9)


def test_more_dimensions_than_rows_and_constant_dimensions():
    x, labels = _digits(classes=3, rows=40)
    assert (x.std(0) == 0).any()
    path = fit_probes(x, labels, num_classes=3, penalties=[1e-3, 1e-6])
    assert np.asarray(path.ok).all()
    logits = np.asarray(predict_logits(_first(path.probe), x))
    assert (logits.argmax(1) == labels).all()


def test_bad_input_is_refused():
    x, labels = _digits(classes=3, rows=40)
    with pytest.raises(ValueError, match=r"at least 2 classes, got only \[1\]"):
        fit_probes(x, np.ones_like(labels), num_classes=3)
    with pytest.raises(ValueError, match=r"lie in \[0, 2\), got 0 to 2"):
        fit_probes(x, labels, num_classes=2)
    with pytest.raises(ValueError, match="Drop unlabelled rows"):
        fit_probes(x, labels - 1, num_classes=3)
    with pytest.raises(ValueError, match=r"labels need shape \[40\]"):
        fit_probes(x, labels[:-1], num_classes=3)
    with pytest.raises(TypeError, match="integer dtype, got float64"):
        fit_probes(x, labels.astype(float), num_classes=3)
    with pytest.raises(ValueError, match=r"above zero, got \[0.0\]"):
        fit_probes(x, labels, num_classes=3, penalties=0.0)
    x[5, 2] = np.nan
    with pytest.raises(ValueError, match="x holds NaN or infinity, first in row 5"):
        fit_probes(x, labels, num_classes=3)
