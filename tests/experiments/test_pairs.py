"""Every ordered pair of planted embeddings, against scikit-learn."""

import numpy as np
import pytest

from experiments import pairs
from helix_jax.errors import RunError
from helix_jax.runs import Run
from helix_jax.text.hashing import SPLITS, split_of
from tests.twins import best_probe, best_ridge, r2

pytestmark = pytest.mark.slow  # its fixtures take seconds


def config_of(planted, workdir, **flags):
    return pairs.PairsConfig(
        workdir=str(workdir),
        models=tuple(f"embeddings:{planted / name}.npz" for name in "ab"),
        data=str(planted / "texts.jsonl"),
        id_column="id",
        label_column="label",
        seeds=1,
        resamples=50,
        **flags,
    )


def test_accuracies_equal_scikit_learn(planted, tmp_path):
    config = pairs.compute.prepare(config_of(planted, tmp_path))
    report = pairs.compute(config, Run(tmp_path))
    rows = {}
    for name in "ab":
        with np.load(planted / f"{name}.npz") as file:
            splits = np.array([split_of(text_id) for text_id in file["ids"]])
            states = file["embeddings"].astype(np.float32).astype(float)
            rows[name] = [states[splits == split] for split in SPLITS]
    labels = np.load(planted / "labels.npy")
    labels = [labels[splits == split] for split in SPLITS]
    table, bars, matrix = report.blocks
    for place, (source, target) in enumerate(["ab", "ba"]):
        (x, x_select, x_test), (y, y_select, y_test) = rows[source], rows[target]
        ridge = best_ridge(x, y, x_select, y_select)
        probe = best_probe(y, labels[0], y_select, labels[1])
        wanted = {
            "fit/r2": r2(y_test, ridge.predict(x_test)),
            "test/target_accuracy": probe.score(y_test, labels[2]),
            "test/mapped_accuracy": probe.score(ridge.predict(x_test), labels[2]),
        }
        names = [
            pairs.short_name(f"embeddings:{planted / one}.npz")
            for one in (source, target)
        ]
        for name, number in wanted.items():
            got = report.numbers["/".join([*names, name])]
            assert got == pytest.approx(number, rel=1e-5), (source, name)
        accuracies = wanted["test/target_accuracy"], wanted["test/mapped_accuracy"]
        shown = [bars.series[pairs.classify.ARMS[arm]] for arm in ("target", "mapped")]
        for accuracy, values in zip(accuracies, shown):
            assert values[place][0] == pytest.approx(100 * accuracy)
        lost = matrix.values[place][1 - place]
        assert lost == pytest.approx(100 * (accuracies[0] - accuracies[1]))
    assert len(table.rows) == 2
    assert np.isnan(matrix.values[0][0])


def test_pairs_stop_where_they_are_told_to_and_models_differ(planted, tmp_path):
    config = config_of(planted, tmp_path / "w", max_pairs=1)
    summary = pairs.run(config)
    assert len([name for name in summary if name.endswith("/fit/r2")]) == 1
    assert pairs.run(config) == summary
    twice = config_of(planted, tmp_path / "x")
    with pytest.raises(RunError, match="needs two or more names"):
        pairs.run(type(twice)(**{**vars(twice), "models": twice.models[:1]}))
