"""Growing samples, deals and detectors on planted rows."""

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.linear_model import LinearRegression
from sklearn.metrics import roc_auc_score

from helix_jax.alignment import AffineMap, from_batch
from helix_jax.transfer.deals import summarise_deals
from helix_jax.transfer.detection import detect
from helix_jax.transfer.few_shot import few_shot_arms, public_arms
from helix_jax.transfer.growth import CONTROL, growing_maps, score_growth
from helix_jax.transfer.task import draw_texts
from tests.twins import best_probe, best_ridge

COUNTS = {"fit": 60, "select": 50}  # of other text


@pytest.mark.slow
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


@pytest.mark.slow
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


def distances(fitted_on, labels, rows):
    """[N] squared Mahalanobis distances of rows to the nearest class."""
    means = np.stack([fitted_on[labels == c].mean(0) for c in range(3)])
    inverse = np.linalg.inv(np.cov((fitted_on - means[labels]).T))
    apart = rows[:, None] - means
    return np.einsum("ncd,de,nce->nc", apart, inverse, apart).min(axis=1)


def test_every_arm_has_detectors_of_the_states_that_it_names(task, rows):
    generator = np.random.default_rng(3)
    strange = [2 * generator.normal(size=(60, width)) for width in (5, 4)]
    kernel = np.linalg.lstsq(rows.x["fit"], rows.y["fit"], rcond=None)[0]
    affine = AffineMap(kernel.astype(np.float32), np.zeros(4, np.float32))
    scores = detect(task, {"mapped": affine}, strange, list(map(str, range(60))))
    mapped = [z @ kernel for z in (rows.x["fit"], rows.x["test"], strange[0])]
    arms = {
        "native": (rows.y["fit"], rows.y["test"], strange[1]),
        "mapped": (rows.y["fit"], *mapped[1:]),
        "refitted": mapped,
        "source": (rows.x["fit"], rows.x["test"], strange[0]),
    }
    found = {arm: scores[arm]["mahalanobis"].metrics["auroc"].value for arm in arms}
    truth = np.repeat([0, 1], [len(rows.x["test"]), 60])
    for arm, (fitted_on, *read) in arms.items():
        wanted = distances(fitted_on, rows.labels["fit"], np.concatenate(read))
        assert found[arm] == pytest.approx(roc_auc_score(truth, wanted), abs=1e-4)
    assert abs(found["refitted"] - found["mapped"]) > 0.001  # the two are told apart


@pytest.mark.parametrize("times", [1, 3])
def test_few_texts_have_the_share_of_the_weight_that_they_are_given(task, rows, times):
    """As if each of them stood so often beside the other text; a share of 1, alone."""
    generator = np.random.default_rng(4)
    other = {name: generator.normal(size=(count, 5)) for name, count in COUNTS.items()}
    kernel = generator.normal(size=(5, 4))  # a relation that the task does not have
    public = {
        name: (x, x @ kernel + generator.normal(size=(len(x), 4)))
        for name, x in other.items()
    }
    moments = {name: from_batch(*pair) for name, pair in public.items()}
    few = 20
    for share in (times * few / (COUNTS["fit"] + times * few), 1):
        arms = public_arms(task, moments, counts=[few], share=share, seeds=2)
        assert [len(logits) for logits in arms.values()] == [1, 2]
        for seed, found in enumerate(arms[f"public_{few}"]):
            drawn = draw_texts(task.ids["fit"], few, seed=seed)
            x, y = (np.tile(z["fit"][drawn], (times, 1)) for z in (rows.x, rows.y))
            if share < 1:
                x = np.concatenate([x, public["fit"][0]])
                y = np.concatenate([y, public["fit"][1]])
            twin = best_ridge(x, y, *public["select"])
            mapped = twin.predict(rows.x["test"])
            wanted = mapped @ task.target_probe.kernel + task.target_probe.bias
            np.testing.assert_allclose(found, wanted, rtol=1e-2, atol=1e-2)


@pytest.mark.slow
def test_few_labelled_texts_train_a_probe_and_choose_its_penalty(task, rows):
    """scikit-learn's probe of the later three quarters; the first one chooses."""
    arms = few_shot_arms(task, counts=[80], seeds=2)
    for seed, found in enumerate(arms["few_shot_80"]):
        drawn = draw_texts(task.ids["fit"], 80, seed=seed)
        x, labels = rows.x["fit"][drawn], rows.labels["fit"][drawn]
        twin = best_probe(x[20:], labels[20:], x[:20], labels[:20])
        wanted = twin.predict_log_proba(rows.x["test"])
        found = log_softmax(np.asarray(found), axis=1)
        np.testing.assert_allclose(found, wanted, rtol=1e-2, atol=1e-2)
