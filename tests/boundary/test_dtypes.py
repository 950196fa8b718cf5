"""Arithmetic whatever the caller's dtype: every public function against float64 numpy.

Labels, counts, scores and rows come in every integer and float dtype, as numpy and as
JAX arrays. The right value is that of the same numbers in int64 or float64; a dtype
that a function does not take is refused by a TypeError that names it, never counted in.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sk

from helix_jax import ood, probes
from helix_jax.numeric import numbers, whole_numbers
from helix_jax.similarity.retrieval import relevant_ranks
from tests.boundary.dtypes import (
    CLASSES,
    FLOATS,
    GUESSES,
    LABELS,
    LOGITS,
    NINE,
    RNG,
    ROWS,
    SIGNED,
    UNSIGNED,
    WHOLE,
    N,
    arrays,
    check,
)


def test_macro_f1_of_bytes_is_scikit_learns():
    """77 classes: uint8 label times 77 wraps from the fourth class on."""
    labels = np.tile(np.arange(77, dtype=np.uint8), 20)
    guesses = np.where(RNG.random(len(labels)) < 0.77, labels, RNG.permutation(labels))
    guesses = guesses.astype(np.uint8)
    expected = sk.f1_score(labels, guesses, average="macro")
    assert expected > 0.7
    assert float(probes.macro_f1(guesses, labels, 77)) == pytest.approx(expected)
    mixed = probes.macro_f1(guesses.astype(np.int16), jnp.asarray(labels), 77)
    assert float(mixed) == pytest.approx(expected)


def test_classes():
    names = np.arange(CLASSES)
    matrix = sk.confusion_matrix(LABELS, GUESSES, labels=names)
    score = sk.f1_score(LABELS, GUESSES, average="macro")
    check(probes.accuracy, np.mean(LABELS == GUESSES), GUESSES, LABELS, dtypes=WHOLE)
    check(
        lambda a, b: probes.confusion_matrix(a, b, CLASSES),
        matrix,
        GUESSES,
        LABELS,
        dtypes=WHOLE,
    )
    check(
        lambda a, b: probes.macro_f1(a, b, CLASSES),
        score,
        GUESSES,
        LABELS,
        dtypes=WHOLE,
    )
    check(probes.f1_of_confusion, score, matrix)
    large = 30 * matrix  # sums beyond 127 and 255, and 2 * 120 too
    expected = probes.f1_of_confusion(large.astype(np.int64))
    np.testing.assert_allclose(probes.f1_of_confusion(large.astype("uint8")), expected)


def test_truths_are_classes_too():
    labels, guesses = LABELS % 2 == 0, GUESSES % 2 == 0
    expected = sk.f1_score(labels, guesses, average="macro")
    assert float(probes.macro_f1(guesses, labels, 2)) == pytest.approx(expected)
    assert float(probes.accuracy(guesses, jnp.asarray(labels))) == np.mean(
        labels == guesses
    )
    assert float(probes.accuracy(guesses.tolist(), labels.tolist())) == np.mean(
        labels == guesses
    )


BAD_LABELS = {
    "negative": (lambda: LABELS - 1, ValueError, r"lie in \[0, 77\), got -1 to 75"),
    "too large": (lambda: LABELS + 1, ValueError, r"lie in \[0, 77\), got 1 to 77"),
    "wrapped": (
        lambda: (LABELS - 1).astype(np.uint8),
        ValueError,
        r"\[0, 77\), got 0 to 255",
    ),
    "huge": (lambda: np.full(N, 2**63, np.uint64), ValueError, r"\[0, 77\), got 9223"),
    "a column": (lambda: LABELS[:, None], ValueError, r"shape \[300\].*\[300, 1\]"),
    "a number": (lambda: np.int64(3), ValueError, "same rows, got|needs? shape"),
    "halves": (lambda: LABELS + 0.5, TypeError, "integer dtype, got float64"),
    "whole floats": (lambda: LABELS * 1.0, TypeError, r"\.astype\('int64'\)"),
    "missing": (lambda: np.where(LABELS, LABELS, np.nan), TypeError, "got float64"),
    "names": (lambda: LABELS.astype(str), TypeError, "integer dtype.*np.unique"),
    "objects": (lambda: LABELS.astype(object), TypeError, "integer dtype, got object"),
    "fewer": (lambda: LABELS[1:], ValueError, "rows|shape"),
    "none": (lambda: LABELS[:0], ValueError, "rows|shape"),
}
USES_OF_LABELS = {
    "confusion": lambda y: probes.confusion_matrix(GUESSES, y, CLASSES),
    "predicted": lambda y: probes.confusion_matrix(y, LABELS, CLASSES),
    "macro_f1": lambda y: probes.macro_f1(GUESSES, y, CLASSES),
    "likelihood": lambda y: probes.negative_log_likelihood(np.eye(CLASSES)[LABELS], y),
    "calibration": lambda y: probes.calibration_error(np.eye(CLASSES)[LABELS], y),
    "fit_probes": lambda y: probes.fit_probes(ROWS / 9, y, num_classes=CLASSES),
    "mahalanobis": lambda y: ood.fit_mahalanobis(ROWS / 9, y, num_classes=CLASSES),
    "class_means": lambda y: ood.fit_class_means(ROWS / 9, y, num_classes=CLASSES),
    "retrieval": lambda y: relevant_ranks(np.eye(N), np.eye(CLASSES, N), y),
}


@pytest.mark.parametrize("use", USES_OF_LABELS)
@pytest.mark.parametrize("bad", BAD_LABELS)
def test_bad_labels_are_refused(use, bad):
    """Never taken from the end, dropped, broadcast or rounded."""
    made, error, said = BAD_LABELS[bad]
    with pytest.raises(error, match=said):
        USES_OF_LABELS[use](made())


def test_accuracy_refuses_what_it_cannot_compare():
    for bad, error, said in (
        (LABELS - 1, ValueError, "from 0 on, got -1"),
        (LABELS[:, None], ValueError, r"shape \[300\]"),
        (LABELS + 0.5, TypeError, "integer dtype"),
        (LABELS[:0], ValueError, "same rows"),
    ):
        for arguments in ((bad, LABELS), (LABELS, bad)):
            with pytest.raises(error, match=said):
                probes.accuracy(*arguments)


def test_labels_out_of_range_give_nan_where_they_cannot_be_looked_at():
    bad = jnp.asarray(NINE).at[3].set(9)
    jitted = jax.jit(lambda y: probes.negative_log_likelihood(LOGITS / 9, y))
    assert np.isnan(jitted(bad))
    assert np.isfinite(jitted(jnp.asarray(NINE)))
    score = jax.jit(lambda y: probes.macro_f1(NINE, y, 9))
    assert np.isnan(score(bad))
    assert np.isnan(score(bad - 9))
    assert float(score(jnp.asarray(NINE))) == 1


@pytest.mark.slow
def test_probes_of_every_dtype():
    def fitted(x, y):
        path = probes.fit_probes(
            x, y, num_classes=3, penalties=[0.1], tolerance=1e-9, dtype="float64"
        )
        chosen = probes.select_probe(path, x, y)
        return (
            chosen.probe,
            chosen.nll_nats,
            chosen.accuracy,
            probes.predict_logits(chosen.probe, x),
        )

    x = ROWS[:100, :4]
    expected = fitted(x.astype(np.float64), NINE[:100] % 3)
    for (name, rows), (_, labels) in zip(
        arrays(x, FLOATS), arrays(NINE[:100] % 3, UNSIGNED + SIGNED)
    ):
        for one, other in zip(
            jax.tree.leaves(fitted(rows, labels)), expected_of(expected)
        ):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4, err_msg=name)
    check(
        lambda z: probes.predict_logits(expected[0], z),
        np.asarray(x) @ np.asarray(expected[0].kernel, np.float64)
        + np.asarray(expected[0].bias),
        x,
        rtol=1e-5,
        atol=1e-5,
    )


def expected_of(tree):
    return [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(tree)]


@pytest.mark.parametrize("dtype", [*WHOLE, "bool"])
def test_whole_numbers_are_widened(dtype):
    values = np.array([0, 1, 1]).astype(dtype)
    for made in (values, jnp.asarray(values), values.tolist()):
        found = whole_numbers("test", "labels", made, rows=3, below=2)
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found, [0, 1, 1])


@pytest.mark.parametrize("dtype", [*WHOLE, *FLOATS, "bool"])
def test_numbers_are_widened(dtype):
    values = np.array([0, 1, 1]).astype(jnp.dtype(dtype))
    found = numbers("test", "scores", values)
    wide = {"float16": "float32", "bfloat16": "float32", "float32": "float32"}
    assert found.dtype == wide.get(dtype, "float64")
    single = np.ones((4, 2), np.float32)
    assert numbers("test", "x", single) is single  # no copy
    for bad in (np.array([1j]), np.array(["a"]), np.array([None]), "abc", None):
        with pytest.raises(TypeError, match="scores need real numbers"):
            numbers("test", "scores", bad)
