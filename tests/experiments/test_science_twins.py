"""classify, fit, methods, ood, scaling beside scikit-learn and scipy: planted rows."""

import itertools
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from sklearn.covariance import EmpiricalCovariance
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import f1_score, r2_score, roc_auc_score

from experiments import classify, fit, methods, ood, scaling
from helix_jax.alignment import derangement, load_map
from helix_jax.probes import load_probe
from helix_jax.runs import Run, read_arrays
from helix_jax.text.hashing import unit_hash
from tests import twins
from tests.experiments.planted import CLASSES, FLIPPED, ROWS, planted

pytestmark = pytest.mark.slow  # its fixtures take seconds


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    return planted(tmp_path_factory.mktemp("known"), "known", ROWS)


def r2_of(known, mapped):
    return r2_score(known.y["test"], mapped, multioutput="variance_weighted")


def best_ridge(known, y=None):
    """scikit-learn's ridge and its relative penalty, the best on select."""
    x = known.x["fit"].astype(float)
    y = known.y["fit"].astype(float) if y is None else y
    ridge = twins.best_ridge(x, y, known.x["select"], known.y["select"])
    return ridge.alpha / (len(x) * x.var(0).sum() / x.shape[1]), ridge


def test_a_fit_and_its_controls_equal_those_of_scikit_learn(known, tmp_path):
    config = fit.FitConfig(workdir=str(tmp_path), seed=3, **known.flags)
    report = fit.compute(config, Run(tmp_path))
    x, y, test = known.x["fit"], known.y["fit"], known.x["test"]
    penalty, ridge = best_ridge(known)
    order = derangement(jax.random.split(jax.random.key(3))[1], len(x))
    shuffled = Ridge(ridge.alpha).fit(x.astype(float), y[np.asarray(order)])
    for name, mapped in {
        "": ridge.predict(test),
        "shuffled_": shuffled.predict(test),
        "mean_": np.tile(y.mean(0), (len(test), 1)),
    }.items():
        found = float(report.numbers[f"test/{name}r2"].value)
        assert found == pytest.approx(r2_of(known, mapped), abs=2e-5), name
    assert report.numbers["fit/penalty"] == pytest.approx(penalty, rel=1e-5)
    residual = known.y["test"] - ridge.predict(test)
    places = np.linalg.eigvalsh(np.cov(residual.T, bias=True))[::-1]
    number, shown = np.array(report.blocks[1].series["residual, ridge"]).T
    total = known.y["test"].var(0).sum()
    np.testing.assert_array_equal(number, 1 + np.arange(len(places)))
    np.testing.assert_allclose(shown, places / total, rtol=1e-3)
    report.files["map"](tmp_path / "map")
    affine, record = load_map(tmp_path / "map")
    np.testing.assert_allclose(affine.kernel, ridge.coef_.T, atol=1e-4)
    assert record["penalty"] == pytest.approx(penalty, rel=1e-5)


def test_states_as_they_are_stand_beside_maps_of_one_width(known, tmp_path):
    source = np.load(known.flags["source"].removeprefix("embeddings:"))
    noise = np.random.default_rng(5).normal(size=source["embeddings"].shape)
    target = (source["embeddings"] + noise).astype("float32")
    np.savez(tmp_path / "noisy.npz", embeddings=target, ids=source["ids"])
    flags = known.flags | {"target": f"embeddings:{tmp_path}/noisy.npz"}
    config = fit.FitConfig(workdir=str(tmp_path / "w"), **flags)
    report = fit.compute(config, Run(tmp_path / "w"))
    places = np.isin(source["ids"], known.ids["test"])
    wanted = r2_score(
        target[places], source["embeddings"][places], multioutput="variance_weighted"
    )
    found = float(report.numbers["test/identity_r2"].value)
    assert found == pytest.approx(wanted, abs=2e-5)
    assert len(report.blocks[0].rows) == len(fit.MAPS)


def test_methods_equal_those_of_scikit_learn_and_scipy(known, tmp_path):
    names = ("least_squares", "ridge", "scaled_procrustes")
    config = methods.MethodsConfig(
        workdir=str(tmp_path), methods=names, repeats=1, resamples=50, **known.flags
    )
    numbers = methods.compute(config, Run(tmp_path)).numbers
    x, y, test = known.x["fit"], known.y["fit"], known.x["test"]
    penalty, ridge = best_ridge(known)
    assert numbers["methods/ridge_penalty"] == pytest.approx(penalty, rel=1e-5)
    mean_x, mean_y = x.mean(0), y.mean(0)
    wide_y = np.pad(y - mean_y, ((0, 0), (0, 2)))  # scipy wants equal widths
    rotation = orthogonal_procrustes(x - mean_x, wide_y)[0][:, :6]
    turned = (x - mean_x) @ rotation
    scale = np.sum(turned * (y - mean_y)) / np.sum(turned**2)
    order = np.asarray(derangement(jax.random.key(0), len(x)))
    mapped = {
        "least_squares": LinearRegression().fit(x, y).predict(test),
        "ridge": ridge.predict(test),
        "scaled_procrustes": scale * (test - mean_x) @ rotation + mean_y,
        "least_squares_shuffled": LinearRegression().fit(x, y[order]).predict(test),
        "control_mean": np.tile(mean_y, (len(test), 1)),
    }
    for name, states in mapped.items():
        found = numbers[f"methods/{name}_r2"]
        assert float(found.value) == pytest.approx(r2_of(known, states), abs=2e-5), name
    right = 1 - len(range(0, len(test), FLIPPED)) / len(test)
    for name in ("ridge_accuracy", "target_probe_accuracy", "source_probe_accuracy"):
        assert float(numbers[f"methods/{name}"].value) == pytest.approx(right), name


def mahalanobis(fit, labels, rows):
    """scikit-learn's distance to the nearest class, one covariance within classes."""
    centres = np.stack([fit[labels == label].mean(0) for label in range(CLASSES)])
    within = EmpiricalCovariance(assume_centered=True).fit(fit - centres[labels])
    spread = np.linalg.inv(within.covariance_)
    away = rows[:, None] - centres
    return np.einsum("ncd,de,nce->nc", away, spread, away).min(1)


def test_auroc_equals_that_of_scikit_learn(known, tmp_path):
    strange = planted(tmp_path, "strange", ROWS, shift=1.5)
    with open(strange.flags["data"], "a") as corpus:  # --data's own are left out
        corpus.write(Path(known.flags["data"]).read_text())
    flags = dict(known.flags)
    for side in ("source", "target"):  # one file has the rows of both corpora
        parts = [
            np.load(one.flags[side].removeprefix("embeddings:"))
            for one in (known, strange)
        ]
        path = tmp_path / f"both-{side}.npz"
        names = "embeddings", "ids"
        np.savez(
            path, **{n: np.concatenate([part[n] for part in parts]) for n in names}
        )
        flags[side] = f"embeddings:{path}"
    config = ood.OodConfig(
        workdir=str(tmp_path), ood_data=strange.flags["data"], resamples=20, **flags
    )
    numbers = ood.compute(config, Run(tmp_path)).numbers
    _, ridge = best_ridge(known)
    sides = [known.y["test"], strange.y["test"]]
    mapped = [ridge.predict(one.x["test"]) for one in (known, strange)]
    truth = np.repeat([0, 1], [len(side) for side in sides])
    assert numbers["ood/strange_texts"] == len(strange.ids["test"])
    for arm, rows, fitted_on in (
        ("native", sides, known.y["fit"]),
        ("mapped", mapped, known.y["fit"]),
        ("refitted", mapped, ridge.predict(known.x["fit"])),
        ("source", [one.x["test"] for one in (known, strange)], known.x["fit"]),
    ):
        scores = mahalanobis(fitted_on, known.labels["fit"], np.concatenate(rows))
        found = numbers[f"ood/mahalanobis_{arm}_auroc"].value
        assert found == pytest.approx(roc_auc_score(truth, scores), abs=1e-9), arm
        assert 0.5 < found < 1, arm


def test_losses_and_plateau_equal_those_of_scikit_learn(known, tmp_path):
    config = scaling.ScalingConfig(
        workdir=str(tmp_path),
        methods=("least_squares",),
        least=12,
        sizes=5,
        seeds=2,
        tolerance=0.2,
        resamples=20,
        **known.flags,
    )
    report = scaling.compute(config, Run(tmp_path))
    x, y, ids = known.x["fit"], known.y["fit"], known.ids["fit"]
    sizes = [round(12 * (len(ids) / 12) ** (place / 4)) for place in range(5)]
    dealt = y[np.asarray(derangement(jax.random.key(0), len(y)))]
    losses = []
    for seed, size in itertools.product(range(2), sizes):
        order = sorted(
            range(len(ids)), key=lambda row: unit_hash(ids[row], salt=f"scaling {seed}")
        )[:size]
        fit = LinearRegression().fit(x[order], y[order])
        losses.append(1 - r2_of(known, fit.predict(known.x["test"])))
    loss = np.mean(np.reshape(losses, (2, 5)), axis=0)
    for size, wanted in zip(sizes, loss):
        found = float(report.numbers[f"scaling/least_squares_{size}_loss"].value)
        assert found == pytest.approx(wanted, rel=1e-4), size
    within = [all(loss[place:] <= 1.2 * loss[-1]) for place in range(5)]
    plateau = sizes[within.index(True)]
    assert sizes[0] < plateau < sizes[-1]
    assert report.numbers["scaling/plateau_rows"].value == plateau
    assert report.numbers["scaling/rows"] == len(ids)
    report.files["metrics.jsonl"](tmp_path / "metrics.jsonl")
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == sizes
    last = report.numbers[f"scaling/control_shuffled_{sizes[-1]}_r2"]
    control = best_ridge(known, dealt)[1].predict(known.x["test"])
    assert float(last.value) == pytest.approx(r2_of(known, control), abs=2e-5)


def test_classify_equals_what_is_read_from_its_files(known, tmp_path):
    config = classify.ClassifyConfig(
        workdir=str(tmp_path), seeds=1, resamples=50, **known.flags
    )
    report = classify.compute(config, Run(tmp_path))
    for name, write in report.files.items():
        write(tmp_path / name)
    affine, _ = load_map(tmp_path / "map")
    probe, record = load_probe(tmp_path / "target_probe")
    assert record["classes"] == ["c0", "c1", "c2"]
    x, y = known.x["test"].astype(float), known.y["test"].astype(float)
    labels = known.labels["test"]
    mapped = x @ np.asarray(affine.kernel, float) + np.asarray(affine.bias)
    for arm, rows in (("mapped", mapped), ("target", y)):
        logits = rows @ np.asarray(probe.kernel, float) + np.asarray(probe.bias)
        right = np.mean(logits.argmax(1) == labels)
        assert report.numbers[f"test/{arm}_accuracy"].value == pytest.approx(right)
        macro = f1_score(labels, logits.argmax(1), average="macro")
        assert report.numbers[f"test/{arm}_macro_f1"] == pytest.approx(macro, rel=1e-5)
    largest = np.bincount(known.labels["fit"]).argmax()
    majority = report.numbers["test/majority_accuracy"].value
    assert majority == pytest.approx(np.mean(labels == largest))
    right = read_arrays(tmp_path / "right.npz")["mapped"]
    assert right.mean() == pytest.approx(report.numbers["test/mapped_accuracy"].value)


def test_states_as_they_are_are_an_arm_where_both_sides_have_one_width(known, tmp_path):
    flags = known.flags | {"target": known.flags["source"]}
    config = classify.ClassifyConfig(
        workdir=str(tmp_path), seeds=1, resamples=50, **flags
    )
    report = classify.compute(config, Run(tmp_path))
    identity = report.numbers["test/identity_accuracy"]
    assert identity == report.numbers["test/target_accuracy"]
    assert ["control: unchanged source states"] in [
        row[:1] for row in report.blocks[0].rows
    ]


def test_few_texts_count_as_much_as_the_flag_says(known, tmp_path):
    """Public text has another relation: its map fails, unless few texts outweigh it."""
    public = planted(tmp_path, "public", ROWS)
    flags = known.flags | {"public": public.flags["data"]}
    for side, turned in (("source", 1.0), ("target", -1.0)):
        own, other = (
            np.load(one.flags[side].removeprefix("embeddings:"))
            for one in (known, public)
        )
        np.savez(
            tmp_path / f"both-{side}.npz",
            embeddings=np.concatenate(
                [own["embeddings"], turned * other["embeddings"]]
            ),
            ids=np.concatenate([own["ids"], other["ids"]]),
        )
        flags[side] = f"embeddings:{tmp_path}/both-{side}.npz"
    found = {}
    for share in (1e-6, 0.98):
        config = classify.ClassifyConfig(
            workdir=str(tmp_path / f"{share}"),
            few_shot=(32,),
            few_shot_share=share,
            seeds=1,
            resamples=20,
            **flags,
        )
        numbers = classify.compute(config, Run(tmp_path)).numbers
        found[share] = numbers["test/public_32_accuracy"].value
        public_alone = numbers["test/public_accuracy"].value
    assert found[1e-6] == public_alone
    assert found[0.98] > public_alone + 0.3
