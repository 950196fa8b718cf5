"""methods, ood and scaling end to end on real text and small trained models."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments import methods, ood, scaling
from experiments.scaling import sample_sizes
from experiments.shared.names import DETECTOR_NAMES, METHOD_NAMES, PROBES
from experiments.shared.options import choose_methods
from helix_jax.alignment import METHODS
from helix_jax.errors import RunError
from helix_jax.ood import DETECTORS
from helix_jax.reports import Bars, Curves, Table, load_blocks
from tests.experiments.told import require_told


@pytest.fixture(scope="module")
def common(models, texts, tmp_path_factory):
    return {
        "source": str(models["llama"]),
        "target": str(models["gpt_neox"]),
        "data": str(texts),
        "max_tokens": 64,
        "resamples": 200,
        "stores": str(tmp_path_factory.mktemp("stores")),
    }


@pytest.fixture(scope="module")
def news(tmp_path_factory):
    """Strange texts: digits and words in no order."""
    generator = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("news") / "news.jsonl"
    lines = [
        " ".join(str(number) for number in generator.integers(0, 10**6, 20))
        for _ in range(300)
    ]
    records = [{"id": f"n{i}", "text": line} for i, line in enumerate(lines)]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.mark.slow
def test_every_method_has_its_scores_intervals_and_control(common, tmp_path):
    config = methods.MethodsConfig(
        workdir=str(tmp_path / "w"),
        methods=("closed", "gradient_cosine"),
        epochs=2,
        repeats=1,
        anchors=40,
        **common,
    )
    summary = methods.run(config)
    for name in (*METHODS, "gradient_cosine"):
        for score in ("r2", "accuracy", "seconds"):
            start = f"methods/{name}_{score}"
            low, value, high = (summary[start + end] for end in ("_low", "", "_high"))
            assert low <= value <= high, start
    assert summary["methods/ridge_r2"] == pytest.approx(summary["fit/r2"], abs=1e-3)
    for name in METHODS:
        if name != "procrustes":
            control = summary[f"methods/{name}_shuffled_r2_high"]
            assert summary[f"methods/{name}_r2"] > control, name
    assert summary["methods/ridge_r2"] > 0.2 > summary["methods/control_mean_r2"]
    best = summary["methods/target_probe_accuracy_high"]
    assert summary["methods/ridge_accuracy"] <= best
    assert Path(config.workdir, "map").exists()
    before = load_blocks(Path(config.workdir))
    assert methods.run(config) == summary
    blocks = load_blocks(Path(config.workdir))
    assert blocks == before
    assert [type(one) for one in blocks] == [Table, Bars] * 2
    r2, accuracy = blocks[1::2]
    assert set(r2.series) == {"pairs of the task", "control: shuffled pairs"}
    place = r2.groups.index("ridge")
    ends = [summary[f"methods/ridge_r2{end}"] for end in ("", "_low", "_high")]
    assert r2.series["pairs of the task"][place] == ends
    assert r2.references["control: the mean"] == summary["methods/control_mean_r2"]
    assert accuracy.references["target, its own probe and states"] == pytest.approx(
        100 * summary["methods/target_probe_accuracy"]
    )
    names = [row[0] for row in blocks[0].rows]
    controls = 3 + ("methods/control_identity_r2" in summary)  # of one width only
    assert len(names) == len(METHODS) + 1 + controls
    assert names[: len(r2.groups)] == r2.groups == accuracy.groups
    require_told(config.workdir, "llama", "gpt_neox", "texts.jsonl", "to test on")


@pytest.mark.slow
def test_detectors_on_native_and_mapped_states(common, news, tmp_path):
    config = ood.OodConfig(
        workdir=str(tmp_path / "w"),
        ood_data=str(news),
        public="docstrings",
        public_limit=600,
        **common,
    )
    summary = ood.run(config)
    for name in DETECTORS:
        for arm in ("native", "mapped", "public", "refitted", "source", "shuffled"):
            for metric in ("auroc", "fpr95"):
                start = f"ood/{name}_{arm}_{metric}"
                low, value, high = (summary[start + e] for e in ("_low", "", "_high"))
                assert 0 <= low <= value <= high <= 1, start
    assert summary["ood/mahalanobis_native_auroc"] > 0.9
    assert summary["ood/knn_mapped_auroc"] > 0.9
    assert summary["ood/strange_texts"] > 20
    assert ood.run(config) == summary
    table, bars, *curves, fpr, own = load_blocks(Path(config.workdir))
    kinds = [type(one) for one in (table, bars, fpr, own)]
    assert kinds == [Table, Bars, Table, Table]
    assert own.header[1:] == list(ood.REFITTED.values())
    assert bars.groups == [DETECTOR_NAMES[one] for one in DETECTORS]
    words = "llama", "gpt_neox", "texts.jsonl against", "out-of-distribution"
    require_told(config.workdir, *words)
    place = bars.groups.index("energy")
    assert bars.series["mapped states"][place] == [
        100 * summary[f"ood/energy_mapped_auroc{end}"] for end in ("", "_low", "_high")
    ]
    assert "control: shuffled pairs" in bars.series
    assert bars.references["chance"] == 50
    for detector, one in zip(ood.DRAWN, curves, strict=True):
        assert isinstance(one, Curves)
        assert one.diagonal
        assert DETECTOR_NAMES[detector] in one.title
        false, true = np.array(one.series["native states"]).T
        assert len(false) <= 200
        area = np.trapezoid(true, false)
        assert area == pytest.approx(summary[f"ood/{detector}_native_auroc"], abs=5e-3)


def test_texts_that_are_not_strange_are_refused(common, tmp_path):
    config = ood.OodConfig(
        workdir=str(tmp_path / "w"), ood_data=common["data"], **common
    )
    with pytest.raises(ValueError, match="no text that --data does not hold"):
        ood.run(config)


@pytest.mark.slow
def test_scaling_has_a_curve_for_every_method_and_a_plateau(common, tmp_path):
    config = scaling.ScalingConfig(
        workdir=str(tmp_path / "w"),
        sizes=4,
        seeds=2,
        anchors=40,
        least=60,
        methods=("ridge", "procrustes", "least_squares", "relative", "mlp"),
        epochs=2,
        **common,
    )
    summary = scaling.run(config)
    sizes = sample_sizes(summary["scaling/rows"], 60, 4)
    losses = [summary[f"scaling/ridge_{size}_loss"] for size in sizes]
    assert losses[-1] < losses[0]
    assert summary["scaling/plateau_rows"] in sizes
    low, high = (
        summary["scaling/plateau_rows_low"],
        summary["scaling/plateau_rows_high"],
    )
    assert low <= summary["scaling/plateau_rows"] <= high
    last = f"scaling/ridge_{sizes[-1]}"
    assert summary[f"{last}_r2"] == pytest.approx(1 - summary[f"{last}_loss"])
    lines = (tmp_path / "w" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(sizes)
    assert summary[f"scaling/control_shuffled_{sizes[-1]}_r2"] < 0.1
    before = load_blocks(tmp_path / "w")
    assert scaling.run(config) == summary
    blocks = load_blocks(tmp_path / "w")
    assert blocks == before
    assert [type(one) for one in blocks] == [Table] * 2 + [Curves] * 4
    require_told(config.workdir, "llama", "gpt_neox", "texts.jsonl", "to test on")
    loss, accuracy, descents, _ = blocks[2:]
    assert loss.series["ridge"] == [
        [
            size,
            *(
                summary[f"scaling/ridge_{size}_loss{end}"]
                for end in ("", "_low", "_high")
            ),
        ]
        for size in sizes
    ]
    assert loss.log_x
    assert set(descents.series) == {
        METHOD_NAMES["mlp"],
        "control: ridge, shuffled pairs",
    }
    assert "control: ridge, shuffled pairs" in loss.series
    assert set(PROBES.values()) < set(accuracy.series)
    plateau = {"plateau of ridge": summary["scaling/plateau_rows"]}
    assert loss.marks == (plateau if summary["scaling/ridge_plateau_found"] else {})


def test_bad_flags_are_refused(common, tmp_path):
    with pytest.raises(RunError, match=r"must be all, closed, .* got 'magic'"):
        methods.run(methods.MethodsConfig(workdir="w", methods=("magic",), **common))
    assert "least_squares" not in choose_methods(["all"], 8, 8)
    with pytest.raises(RunError, match="--least=500 needs to be below the 400 texts"):
        sample_sizes(400, 500, 8)
    for run, config in (
        (methods.run, methods.MethodsConfig(data=common["data"])),
        (ood.run, ood.OodConfig(data=common["data"])),
        (scaling.run, scaling.ScalingConfig(data=common["data"])),
    ):
        with pytest.raises(
            RunError, match=r"missing: --workdir .* and --source .* and --target"
        ):
            run(config)


def test_one_class_only_and_no_labels_are_refused(common, tmp_path):
    one = tmp_path / "one.jsonl"
    lines = Path(common["data"]).read_text().splitlines()
    same = [{**json.loads(line), "label": "a"} for line in lines[:60]]
    one.write_text("".join(json.dumps(record) + "\n" for record in same))
    config = methods.MethodsConfig(
        workdir=str(tmp_path / "w"), **{**common, "data": str(one)}
    )
    with pytest.raises(ValueError, match="class"):
        methods.run(config)
    none = tmp_path / "none.txt"
    none.write_text("\n\n".join(json.loads(line)["text"] for line in lines[:60]))
    config = scaling.ScalingConfig(
        workdir=str(tmp_path / "v"), **{**common, "data": str(none)}
    )
    with pytest.raises(ValueError, match="label"):
        scaling.run(config)
