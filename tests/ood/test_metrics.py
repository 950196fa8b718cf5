"""Detection metrics: scikit-learn, brute force, pytorch-ood, intervals."""

import itertools

import jax
import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import (
    auc,
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from helix_jax.ood import (
    auroc_standard_error,
    count_scores,
    detection_intervals,
    detection_metrics,
    roc_points,
)


def sides(seed, *, rows=(400, 300), ties=None, dtype="float64"):
    generator = np.random.default_rng(seed)
    known, strange = generator.normal(size=rows[0]), generator.normal(1, 1, rows[1])
    if ties is not None:
        known, strange = known.round(ties), strange.round(ties)
    return known.astype(dtype), strange.astype(dtype)


def labelled(known, strange):
    truth = np.repeat([0, 1], [len(known), len(strange)])
    return truth, np.concatenate([known, strange])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("ties", [None, 1, 0])
@pytest.mark.parametrize("rows", [(400, 300), (3, 500), (500, 2), (1, 1)])
def test_they_equal_scikit_learn(rows, ties, dtype):
    known, strange = sides(0, rows=rows, ties=ties, dtype=dtype)
    truth, scores = labelled(known, strange)
    found = detection_metrics(known, strange)
    wanted = {
        "auroc": roc_auc_score(truth, scores),
        "aupr_out": average_precision_score(truth, scores),
        "aupr_in": average_precision_score(1 - truth, -scores),
    }
    for name, value in wanted.items():
        assert getattr(found, name) == pytest.approx(value, abs=1e-12), name


@pytest.mark.parametrize("ties", [None, 1, 0])
def test_they_equal_the_definitions_of_pytorch_ood(ties):
    """Area by straight lines, and fpr at the first point of the ROC curve."""
    known, strange = sides(1, ties=ties)
    truth, scores = labelled(known, strange)
    found = detection_metrics(known, strange)
    for name, positive, sign in (("out", truth, 1), ("in", 1 - truth, -1)):
        precision, recall, _ = precision_recall_curve(positive, sign * scores)
        value = getattr(found, f"aupr_{name}_trapezoid")
        assert value == pytest.approx(auc(recall, precision), abs=1e-12), name
        false, true, _ = roc_curve(positive, sign * scores, drop_intermediate=False)
        wanted = false[np.searchsorted(true, 0.95)]
        value = found.fpr95 if name == "out" else found.fpr95_in
        assert value == pytest.approx(wanted, abs=1e-12), name


def test_they_equal_pytorch_ood_itself():
    torch = pytest.importorskip("torch")
    ood = pytest.importorskip("pytorch_ood.metrics")
    for ties in (None, 1):
        known, strange = sides(2, ties=ties)
        truth, scores = labelled(known, strange)
        metrics = ood.OODMetrics()
        metrics.update(torch.tensor(scores), torch.tensor(-truth))
        wanted = metrics.compute()
        found = detection_metrics(known, strange)
        assert found.auroc == pytest.approx(wanted["AUROC"], abs=1e-6)
        assert found.aupr_in_trapezoid == pytest.approx(wanted["AUPR-IN"], abs=1e-5)
        assert found.aupr_out_trapezoid == pytest.approx(wanted["AUPR-OUT"], abs=1e-5)
        assert found.fpr95 == pytest.approx(wanted["FPR95TPR"], abs=1e-6)


def test_auroc_is_the_share_of_pairs_in_order():
    known, strange = sides(3, rows=(40, 30), ties=0)
    pairs = [(b > a) + (a == b) / 2 for a, b in itertools.product(known, strange)]
    assert detection_metrics(known, strange).auroc == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize("ties", [None, 1, 0])
@pytest.mark.parametrize("rows", [(400, 300), (3, 500), (500, 2), (1, 1)])
def test_the_roc_curve_is_that_of_scikit_learn(rows, ties):
    known, strange = sides(8, rows=rows, ties=ties)
    false, true, _ = roc_curve(*labelled(known, strange), drop_intermediate=False)
    points = roc_points(known, strange)
    assert {tuple(one) for one in points} <= set(zip(false, true))
    # Each of its points is on our lines: at the same length along the curve.
    for column, wanted in enumerate((false, true)):
        found = np.interp(false + true, points.sum(1), points[:, column])
        np.testing.assert_allclose(found, wanted, atol=1e-12)
    area = detection_metrics(known, strange).auroc
    assert auc(*points.T) == pytest.approx(area, abs=1e-12)


def test_a_thinned_roc_curve_keeps_corners_and_ends():
    known, strange = sides(9, rows=(4000, 3000))
    whole = {tuple(one) for one in roc_points(known, strange)}
    thin = roc_points(known, strange, most=200)
    assert len(whole) > 1000 > 200 >= len(thin) > 180
    assert {tuple(one) for one in thin} <= whole
    np.testing.assert_array_equal(thin[[0, -1]], [[0, 0], [1, 1]])
    area = detection_metrics(known, strange).auroc
    assert auc(*thin.T) == pytest.approx(area, abs=1e-3)
    perfect = roc_points(np.arange(50.0), np.arange(50.0, 90.0), most=10)
    np.testing.assert_array_equal(perfect, [[0, 0], [0, 1], [1, 1]])
    tied = roc_points(np.zeros(5), np.zeros(3))
    np.testing.assert_array_equal(tied, [[0, 0], [1, 1]])
    with pytest.raises(ValueError, match="most must be 2 or more"):
        roc_points(known, strange, most=1)


def test_edges():
    same = detection_metrics(np.zeros(10), np.zeros(30))
    assert (same.auroc, same.fpr95, same.fpr95_in) == (0.5, 1.0, 1.0)
    assert (same.aupr_in, same.aupr_out) == (0.25, 0.75)
    perfect = detection_metrics(np.arange(5.0), np.arange(5.0, 9.0))
    assert perfect[:5] == (1.0, 1.0, 1.0, 0.0, 0.0)
    wrong = detection_metrics(np.arange(5.0, 9.0), np.arange(5.0))
    assert (wrong.auroc, wrong.fpr95) == (0.0, 1.0)
    infinite = detection_metrics([0.0, -np.inf], [np.inf, 1.0])
    assert infinite.auroc == 1.0
    counts = count_scores([1.0, 2.0, 2.0], [2.0, 3.0])
    np.testing.assert_array_equal(counts.scores, [3, 2, 1])
    np.testing.assert_array_equal(counts.known, [0, 2, 1])
    np.testing.assert_array_equal(counts.strange, [1, 1, 0])


def test_one_row_a_document_agrees_with_delong():
    known, strange = sides(4)
    found = detection_intervals(
        known, strange, np.arange(400), np.arange(300), resamples=2000
    )["auroc"]
    error = auroc_standard_error(known, strange)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.08)
    assert found.low < found.value < found.high


def test_delong_is_the_spread_over_samples():
    found = [detection_metrics(*sides(seed)).auroc for seed in range(400)]
    error = auroc_standard_error(*sides(0))
    assert np.std(found) == pytest.approx(error, rel=0.12)


def test_a_resample_is_the_metric_of_repeated_rows():
    """Two documents a side: every resample is one of few, made here by hand."""
    known, strange = sides(5, rows=(8, 6), ties=0)
    split = np.arange(8) < 3, np.arange(6) < 2
    possible = {
        detection_metrics(
            np.concatenate([known[split[0] == a] for a in left]),
            np.concatenate([strange[split[1] == b] for b in right]),
        ).auroc
        for left in itertools.product([True, False], repeat=2)
        for right in itertools.product([True, False], repeat=2)
    }
    for seed in range(5):
        found = detection_intervals(
            known, strange, split[0], split[1], resamples=1, key=jax.random.key(seed)
        )["auroc"]
        assert found.low == found.high
        assert min(abs(found.low - value) for value in possible) < 1e-12


def test_documents_widen_the_interval_and_a_key_fixes_it():
    known, strange = sides(6)
    known, strange = np.repeat(known, 5), np.repeat(strange, 5)
    rows = np.arange(2000), np.arange(1500)
    alone = detection_intervals(known, strange, *rows, resamples=300)["auroc"]
    documents = rows[0] // 5, rows[1] // 5
    grouped = detection_intervals(known, strange, *documents, resamples=300)["auroc"]
    assert grouped.high - grouped.low > 1.8 * (alone.high - alone.low)
    again = detection_intervals(known, strange, *documents, resamples=300)["auroc"]
    assert again == grouped


def test_the_interval_covers():
    truth = norm.cdf(1 / np.sqrt(2))
    inside = 0
    for seed in range(100):
        known, strange = sides(100 + seed, rows=(120, 120))
        found = detection_intervals(
            known, strange, np.arange(120), np.arange(120), resamples=200
        )["auroc"]
        inside += found.low <= truth <= found.high
    assert inside >= 88


def test_bad_input_is_refused():
    known, strange = sides(7)
    with pytest.raises(ValueError, match="known needs one score for each"):
        detection_metrics([], strange)
    with pytest.raises(ValueError, match="strange holds NaN, first in row 1"):
        detection_metrics(known, [0.0, np.nan])
    with pytest.raises(ValueError, match="got shape"):
        detection_metrics(known[:, None], strange)
    with pytest.raises(TypeError, match="known needs real numbers, got <U1"):
        detection_metrics(["a", "b"], strange)
    with pytest.raises(ValueError, match="the known rows are of 1 document"):
        detection_intervals(known, strange, np.zeros(400), np.arange(300))
    with pytest.raises(ValueError, match="of each of 300 strange rows"):
        detection_intervals(known, strange, np.arange(400), np.arange(3))
    with pytest.raises(ValueError, match="level needs to be in"):
        detection_intervals(known, strange, known, strange, level=1.0)
    with pytest.raises(ValueError, match="two rows or more on each side"):
        auroc_standard_error(known[:1], strange)
