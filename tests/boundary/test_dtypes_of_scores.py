"""Scores, intervals and tests whatever the dtype: see test_dtypes.py."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sk

from helix_jax import ood, probes, stats
from helix_jax.generation import gate
from helix_jax.generation.metrics import negative_log_p
from helix_jax.stats.documents import document_codes
from tests.boundary.dtypes import (
    DOCUMENTS,
    FLOATS,
    KNOWN,
    LOGITS,
    NINE,
    RNG,
    ROWS,
    STRANGE,
    UNSIGNED,
    WHOLE,
    N,
    check,
    softmax,
)


@pytest.mark.slow
def test_scores_of_logits():
    p = softmax(LOGITS)
    energy = -np.log(np.sum(np.exp(LOGITS.astype(float)), axis=1))
    nll = -np.mean(np.log(p[np.arange(N), NINE]))
    check(ood.energy_score, energy, LOGITS)
    check(ood.max_logit_score, -LOGITS.max(axis=1), LOGITS)
    check(ood.max_softmax_score, -p.max(axis=1), LOGITS)
    entropy = -np.sum(p * np.log(p), axis=1)
    check(ood.entropy_score, entropy, LOGITS, rtol=1e-4, atol=1e-6)
    check(lambda z: probes.negative_log_likelihood(z, NINE), nll, LOGITS)
    expected = probes.calibration_error(LOGITS.astype(np.float64), NINE)
    check(lambda z: probes.calibration_error(z, NINE), expected, LOGITS)
    check(
        lambda z: negative_log_p(z, NINE.astype(np.uint8)),
        -np.log(p[np.arange(N), NINE]),
        LOGITS,
        rtol=1e-5,
        atol=1e-5,
    )
    # Unsigned: minus the largest wraps.
    positive = LOGITS - LOGITS.min()
    check(ood.max_logit_score, -positive.max(axis=1), positive, dtypes=UNSIGNED)
    found = ood.energy_score(np.float16([[60000.0, 60000.0]]))
    np.testing.assert_allclose(found, [-60000 - np.log(2)], rtol=1e-6)


def test_detection():
    scores, truth = np.concatenate([KNOWN, STRANGE]), np.repeat([0, 1], [N, N + 20])
    found = ood.detection_metrics(KNOWN.astype(float), STRANGE.astype(float))
    assert found.auroc == pytest.approx(sk.roc_auc_score(truth, scores))
    assert found.aupr_out == pytest.approx(sk.average_precision_score(truth, scores))
    check(ood.detection_metrics, found, KNOWN, STRANGE)
    counts = ood.count_scores(KNOWN.astype(float), STRANGE.astype(float))
    check(ood.count_scores, counts, KNOWN, STRANGE)
    expected = ood.roc_points(KNOWN.astype(float), STRANGE.astype(float))
    check(ood.roc_points, expected, KNOWN, STRANGE)
    check(
        lambda a, b: ood.metrics_of_counts(np.asarray(a), np.asarray(b)),
        found,
        counts.known,
        counts.strange,
    )
    error = ood.auroc_standard_error(KNOWN.astype(float), STRANGE.astype(float))
    check(ood.auroc_standard_error, error, KNOWN, STRANGE)
    documents = [one % 40 for one in (np.arange(N), np.arange(N + 20))]
    interval = ood.detection_intervals(
        KNOWN.astype(float), STRANGE.astype(float), *documents, resamples=20
    )
    check(
        lambda a, b: ood.detection_intervals(a, b, *documents, resamples=20),
        interval,
        KNOWN,
        STRANGE,
    )
    truths = ood.detection_metrics(KNOWN > 40, STRANGE > 40)
    assert truths.auroc == pytest.approx(sk.roc_auc_score(truth, scores > 40))


def test_ties_of_half_precision_stay_ties_against_single():
    known = np.float16([0.1, 0.2, 0.3])
    strange = known.astype(np.float32)
    assert ood.detection_metrics(known, strange).auroc == 0.5


def test_a_rate_that_was_computed_is_met():
    """0.1 * 3 is .30000000000000004, and 0.6 in float32 is .60000002."""
    known, strange = np.arange(10.0), np.arange(10.0)
    for rate, same in (
        (0.1 * 3, 0.3),
        (0.1 * 6, 0.6),
        (0.7 + 0.1, 0.8),
        (np.float32(0.3), 0.3),
        (np.float32(0.6), 0.6),
    ):
        a = ood.detection_metrics(known, strange, rate=rate)
        assert a == ood.detection_metrics(known, strange, rate=same)
    scores, good = np.arange(10.0)[::-1], np.arange(10) < 3
    for quality in (0.1 * 3, np.float32(0.3)):
        assert gate.threshold_for(scores, good, quality) == 0


@pytest.mark.slow
def test_detectors_of_rows():
    probe = probes.Probe(np.eye(8, 3), np.zeros(3))
    labels = NINE % 3
    fitted = ood.fit_detectors(probe, ROWS.astype(np.float64), labels)
    for name, score in ood.DETECTORS.items():
        rtol = 1e-4 if name in ("knn", "cosine", "vim") else 1e-5
        check(
            lambda x, score=score: score(ood.fit_detectors(probe, x, labels), x),
            score(fitted, ROWS.astype(np.float64)),
            ROWS,
            dtypes=FLOATS,
            rtol=rtol,
            atol=2e-3 if name == "knn" else 1e-4,
        )


def test_gates():
    good = NINE % 2
    expected = gate.coverage_curve(KNOWN.astype(float), good > 0, [0.1, 0.5, 1.0])
    level = gate.threshold_for(KNOWN.astype(float), good > 0, 0.4)
    check(lambda s: gate.coverage_curve(s, good, [0.1, 0.5, 1.0]), expected, KNOWN)
    check(
        lambda g: gate.coverage_curve(KNOWN, g, [0.1, 0.5, 1.0]),
        expected,
        good,
        dtypes=WHOLE,
    )
    check(lambda s: gate.threshold_for(s, good, 0.4), level, KNOWN)
    # As many are trusted as the threshold was chosen for, in float64 too.
    scores = RNG.random(N)
    level = gate.threshold_for(scores, scores > 0.5, 1.0)
    assert np.sum(np.float32(scores) >= level) == np.sum(scores > 0.5)
    for bad, said in (
        (np.where(NINE, KNOWN, np.nan), "scores holds NaN"),
        (KNOWN[1:], "same rows"),
    ):
        with pytest.raises(ValueError, match=said):
            gate.threshold_for(bad, good, 0.5)


def test_intervals():
    mean = stats.bootstrap_interval(KNOWN.astype(float), DOCUMENTS, resamples=50)
    assert float(mean.value) == pytest.approx(KNOWN.mean())
    check(lambda z: stats.bootstrap_interval(z, DOCUMENTS, resamples=50), mean, KNOWN)
    truths = stats.bootstrap_interval(KNOWN > 40, DOCUMENTS, resamples=50)
    assert float(truths.value) == pytest.approx(np.mean(KNOWN > 40))
    pair = (KNOWN, STRANGE[:N])
    paired = stats.paired_interval(*(z * 1.0 for z in pair), DOCUMENTS, resamples=50)
    assert float(paired.value) == pytest.approx(np.mean(KNOWN - STRANGE[:N]))
    check(
        lambda a, b: stats.paired_interval(a, b, DOCUMENTS, resamples=50), paired, *pair
    )
    rows = np.stack([KNOWN, np.ones(N, int)], axis=1)
    check(
        lambda z: stats.bootstrap_statistic(
            z, DOCUMENTS, stats.mean_of_sums, resamples=50
        ),
        mean,
        rows,
    )
    check(
        lambda z: stats.bootstrap_interval(KNOWN, z, resamples=50),
        mean,
        DOCUMENTS,
        dtypes=WHOLE,
    )
    seeds = stats.seed_interval(KNOWN.astype(float))
    assert float(seeds.value) == pytest.approx(KNOWN.mean())
    check(stats.seed_interval, seeds, KNOWN)
    left_out = KNOWN[:20]
    jackknife = stats.jackknife_interval(50.0, left_out.astype(float))
    check(lambda z: stats.jackknife_interval(50, z), jackknife, left_out)


def test_permutation_tests():
    flips = stats.sign_flip_p(ROWS[:, 0] * 1.0, DOCUMENTS, permutations=99)
    check(lambda z: stats.sign_flip_p(z, DOCUMENTS, permutations=99), flips, ROWS[:, 0])
    p = stats.permutation_p(60.0, KNOWN.astype(float))
    assert float(p) == (1 + np.sum(KNOWN >= 60)) / (1 + N)
    check(lambda z: stats.permutation_p(60, z), p, KNOWN)
    made = np.array([0, 1, 0, 1, 1])
    adjusted = stats.benjamini_hochberg(made * 1.0)
    check(stats.benjamini_hochberg, adjusted, made)
    check(stats.benjamini_yekutieli, stats.benjamini_yekutieli(made * 1.0), made)


def test_documents_that_differ_stay_different():
    for documents, count in (
        ([1, "1", 1], 2),
        (["a", "a\0"], 2),
        ([2**63, 2**63 + 1], 2),
        (["b", "a"], 2),
        (np.array([2**53, 2**53 + 1]), 2),
        (np.array(["a", "b", "a"]), 2),
        (np.array([1, "1"], object), 2),
        (jnp.array([1, 2, 1]), 2),
    ):
        codes, found = document_codes("test", documents, len(documents))
        assert found == count == len(set(codes.tolist()))
    groups = stats.document_groups(["a", "b", "a", "c"], groups=3)
    assert groups[0] == groups[2]
    with pytest.raises(ValueError, match="a document is NaN"):
        stats.bootstrap_interval(KNOWN, np.where(NINE, 1.0, np.nan))
    with pytest.raises(TypeError, match="values need real numbers, got <U"):
        stats.bootstrap_interval(KNOWN.astype(str), DOCUMENTS)
