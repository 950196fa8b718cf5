"""Growing samples, deals and detectors on planted rows."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import roc_auc_score

from helix_jax.alignment import AffineMap, from_batch
from helix_jax.transfer.deals import summarise_deals
from helix_jax.transfer.detection import detect
from helix_jax.transfer.growth import CONTROL, growing_maps, score_growth


def test_maps_of_growing_samples_are_those_of_their_rows_alone(task, rows):
    order = np.random.default_rng(2).permutation(len(rows.x["fit"]))
    pairs = {split: (rows.x[split], rows.y[split]) for split in ("fit", "select")}
    sizes = (5, 30, 240)  # of the first least squares is not defined
    grown = growing_maps(
        pairs,
        from_batch(*pairs["select"]),
        order,
        sizes,
        methods=["least_squares"],
        anchors=5,
        epochs=1,
    )
    scores = score_growth(task, grown, ["least_squares", CONTROL])
    errors, right = scores["least_squares"]
    assert np.isnan(errors[0]).all()
    for place, size in enumerate(sizes[1:], 1):
        first = order[:size]
        twin = LinearRegression().fit(rows.x["fit"][first], rows.y["fit"][first])
        mapped = twin.predict(rows.x["test"])
        wanted = np.sum((mapped - rows.y["test"]) ** 2, axis=1)
        np.testing.assert_allclose(errors[place], wanted, rtol=2e-3)
        logits = mapped @ task.target_probe.kernel + task.target_probe.bias
        named = logits.argmax(1) == rows.labels["test"]
        np.testing.assert_array_equal(right[place], named)
    assert scores[CONTROL][0, -1].mean() > 3 * errors[-1].mean()


def test_scores_are_means_over_deals():
    rows = np.random.default_rng(0).random((2, 40))
    agreements = 0.5, 0.1
    deals = [
        {
            "a/error": row / 4,
            "a/deviation": row,
            "a/recall": row,
            "a_agreement": np.array(agreement),
        }
        for row, agreement in zip(rows, agreements)
    ]
    scores = summarise_deals("a", deals, list(map(str, range(40))), resamples=20)
    assert set(scores) == {"r2", "recall", "agreement"}
    assert scores["recall"].value == pytest.approx(rows.mean())
    assert scores["r2"].value == pytest.approx(3 / 4)
    assert scores["agreement"] == pytest.approx((0.3, 0.1, 0.5))


def test_a_detector_reads_mapped_states_as_if_they_were_the_targets(task, rows):
    generator = np.random.default_rng(3)
    strange = [generator.normal(size=(60, width)) for width in (5, 4)]
    kernel = np.linalg.lstsq(rows.x["fit"], rows.y["fit"], rcond=None)[0]
    affine = AffineMap(kernel.astype(np.float32), np.zeros(4, np.float32))
    documents = list(map(str, range(60)))
    scores = detect(task, {"mapped": affine}, strange, documents)
    assert set(scores) == {"native", "mapped", "refitted", "source"}
    for arm, known, others in (
        ("native", rows.y["test"], strange[1]),
        ("mapped", rows.x["test"] @ kernel, strange[0] @ kernel),
    ):
        probe = task.target_probe
        logits = np.concatenate([known, others]) @ probe.kernel + probe.bias
        truth = np.repeat([0, 1], [len(known), len(others)])
        wanted = roc_auc_score(truth, -logits.max(1))
        detection = scores[arm]["max_logit"]
        assert detection.metrics["auroc"].value == pytest.approx(wanted, abs=1e-4)
        false, true = detection.curve.T
        assert np.trapezoid(true, false) == pytest.approx(wanted, abs=5e-3)
