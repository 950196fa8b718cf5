"""Scores of an arm over several draws, beside those of scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from helix_jax.probes import arm_scores, calibration_error, right_rows


@pytest.fixture(scope="module")
def draws():
    generator = np.random.default_rng(0)
    labels = generator.integers(4, size=120)
    logits = generator.normal(size=(3, 120, 4)) + 1.5 * np.eye(4)[labels]
    return list(logits), labels


def test_scores_are_means_over_draws(draws):
    logits, labels = draws
    scores = arm_scores(logits, labels, np.arange(120) // 3, resamples=50)
    named = [one.argmax(-1) for one in logits]
    accuracies = [accuracy_score(labels, one) for one in named]
    assert float(scores.accuracy.value) == pytest.approx(np.mean(accuracies))
    assert float(scores.accuracy.low) < np.mean(accuracies)
    assert float(scores.accuracy.high) > np.mean(accuracies)
    f1 = np.mean([f1_score(labels, one, average="macro") for one in named])
    assert scores.macro_f1 == pytest.approx(f1)
    errors = [float(calibration_error(one, labels)) for one in logits]
    assert scores.calibration_error == pytest.approx(np.mean(errors))
    assert scores.accuracy_std == pytest.approx(np.std(accuracies))
    assert scores.numbers("test/mapped") == {
        "test/mapped_accuracy": scores.accuracy,
        "test/mapped_macro_f1": scores.macro_f1,
        "test/mapped_calibration_error": scores.calibration_error,
        "test/mapped_accuracy_std": scores.accuracy_std,
    }


def test_one_draw_has_no_spread(draws):
    logits, labels = draws
    scores = arm_scores(logits[:1], labels, np.arange(120), resamples=50)
    assert scores.accuracy_std is None
    assert "arm_accuracy_std" not in scores.numbers("arm")


def test_right_rows_are_of_each_draw(draws):
    logits, labels = draws
    right = right_rows(logits, labels)
    assert right.shape == (3, 120)
    wanted = [logits[0][row].argmax() == labels[row] for row in range(120)]
    assert (right[0] == wanted).all()
    with pytest.raises(ValueError, match="right_rows"):
        right_rows(logits, labels[:-1])
