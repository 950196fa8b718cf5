"""Scores: equal to scikit-learn and to a brute-force calibration error."""

import jax
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, log_loss
from sklearn.metrics import confusion_matrix as sklearn_confusion

from helix_jax.probes import (
    accuracy,
    calibration_error,
    confusion_matrix,
    macro_f1,
    negative_log_likelihood,
)


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(500, 5)) * 2
    labels = np.where(
        rng.random(500) < 0.6, logits.argmax(1), rng.integers(5, size=500)
    )
    return logits, labels


def test_equal_to_scikit_learn(case):
    logits, labels = case
    predicted = logits.argmax(1)
    want = accuracy_score(labels, predicted)
    assert 0.5 < want < 0.9
    assert float(accuracy(predicted, labels)) == pytest.approx(want)
    want = f1_score(labels, predicted, average="macro")
    assert float(macro_f1(predicted, labels, 5)) == pytest.approx(want)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    got = float(negative_log_likelihood(logits, labels))
    assert got == pytest.approx(log_loss(labels, probabilities), rel=1e-9)
    want = sklearn_confusion(labels, predicted)  # not symmetric: labels are the rows
    assert (want != want.T).any()
    np.testing.assert_array_equal(confusion_matrix(predicted, labels, 5), want)


def test_macro_f1_skips_classes_that_never_occur():
    predicted, labels = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    want = f1_score(labels, predicted, average="macro")
    assert float(macro_f1(predicted, labels, 9)) == pytest.approx(want)


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_calibration_error_is_the_definition(case, bins):
    logits, labels = case
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    confidence, right = p.max(1), p.argmax(1) == labels
    want = 0.0
    for low in np.arange(bins) / bins:
        inside = (confidence > low) & (confidence <= low + 1 / bins)
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            want += inside.mean() * gap
    assert float(calibration_error(logits, labels, bins=bins)) == pytest.approx(want)


def test_a_confidence_between_two_bins_is_of_the_lower_one():
    """Bins are (0, 1/2] and (1/2, 1]: a wrong row of .5 does not excuse a right one."""
    logits = np.log([[0.5, 0.5], [0.9, 0.1]])
    got = calibration_error(logits, np.array([1, 0]), bins=2)
    assert float(got) == pytest.approx((0.5 + 0.1) / 2)


def test_calibration_error_of_a_calibrated_and_an_overconfident_classifier():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(40000, 3)) * 2
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(1)
    assert float(calibration_error(logits, labels)) < 0.01
    assert float(calibration_error(5 * logits, labels)) > 0.1


def test_a_loss_of_a_millionth_keeps_its_digits():
    logits = np.array([[40.0, 5.0, 3.0]], np.float32)
    want = np.log1p(np.exp(-35.0) + np.exp(-37.0))
    got = jax.jit(negative_log_likelihood)(logits, np.array([0]))
    assert float(got) == pytest.approx(want, rel=1e-6)


def test_rows_must_agree():
    with pytest.raises(ValueError, match="same rows, got 2 and 3"):
        accuracy(np.zeros(2, int), np.zeros(3, int))
    with pytest.raises(ValueError, match="needs at least 1 rows"):
        accuracy(np.zeros(0, int), np.zeros(0, int))
