"""The similarity experiment: every measure, layers, nulls, intervals; errors."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments import similarity
from helix_jax.errors import RunError
from helix_jax.reports import load_blocks
from helix_jax.runs import Run
from helix_jax.similarity.scores import MEASURES
from helix_jax.stats import Interval
from helix_jax.text.hashing import split_of
from tests.experiments.told import require_told
from tests.similarity import twins


def _config(folder, workdir, **settings):
    return similarity.SimilarityConfig(
        workdir=str(workdir),
        data=str(folder / "texts.jsonl"),
        models=tuple(f"embeddings:{folder / name}.npz" for name in "ab"),
        id_column="id",
        permutations=19,
        **settings,
    )


@pytest.mark.slow
def test_numbers_equal_plain_numpy_on_the_test_texts(planted, tmp_path):
    config = _config(planted, tmp_path, measures=("linear_cka", "mutual_knn"))
    report = similarity.compute(similarity.compute.prepare(config), Run(tmp_path))
    with np.load(planted / "a.npz") as file:
        ids = file["ids"].tolist()
    test = np.array([split_of(text_id) == "test" for text_id in ids])
    rows = []
    for name in "ab":
        with np.load(planted / f"{name}.npz") as file:
            rows.append(file["embeddings"][test].astype(np.float32).astype(float))
    a, b = rows
    key = jax.random.key(0)
    orders = [
        np.asarray(jax.random.permutation(jax.random.fold_in(key, i), len(a)))
        for i in range(19)
    ]
    wanted = {
        "linear_cka": twins.cka(a @ a.T, b @ b.T),
        "linear_cka_shuffled": np.mean(
            [twins.cka(a @ a.T, b[order] @ b[order].T) for order in orders]
        ),
        "mutual_knn": twins.mutual_knn(twins.unit(a), twins.unit(b), 10),
    }
    for name, number in wanted.items():
        got = report.numbers["/".join(["similarity", *config.models, name])]
        got = got.value if isinstance(got, Interval) else got
        assert got == pytest.approx(number, rel=2e-5), name
        if not name.endswith("_shuffled"):  # of one pair the mean is the pair's
            assert report.numbers[f"similarity/{name}_mean"].value == got
    assert report.numbers["data/test_texts"] == len(a)
    assert not (tmp_path / "summary.json").exists()


@pytest.mark.slow
def test_every_measure_has_its_null_and_interval(planted, tmp_path):
    summary = similarity.run(_config(planted, tmp_path / "w", measures=("all",)))
    for measure in MEASURES:
        start = f"similarity/{measure}"
        mean, low, high = (summary[f"{start}_mean{e}"] for e in ("", "_low", "_high"))
        assert low < mean < high
        assert high - low < 0.25
        assert summary[f"{start}_discoveries"] == 1
        assert 0.1 < summary[f"{start}_calibrated"] < 1
    pair = next(key for key in summary if key.endswith("linear_cka_q"))
    assert summary[pair] == pytest.approx(1 / 20)
    assert abs(summary["similarity/unbiased_cka_shuffled"]) < 0.05
    assert len(load_blocks(tmp_path / "w")) == 2 + len(MEASURES)
    assert (
        similarity.run(_config(planted, tmp_path / "w", measures=("all",))) == summary
    )


@pytest.mark.slow
def test_layers_of_a_model_are_extracted_once(models, texts, tmp_path):
    folders = {}
    for name, model in models.items():
        folders[name] = tmp_path / name
        folders[name].mkdir()
        for file in model.iterdir():
            (folders[name] / file.name).write_bytes(file.read_bytes())
    config = similarity.SimilarityConfig(
        workdir=str(tmp_path / "w"),
        models=tuple(map(str, folders.values())),
        data=str(texts),
        layers=(0, -1, 2),
        measures=("unbiased_cka",),
        tiny=True,
    )
    summary = similarity.run(config)
    assert summary["similarity/pairs"] == 4
    require_told(tmp_path / "w", "llama@0", "gpt_neox", "texts.jsonl", "to test on")
    assert "similarity/llama@0/gpt_neox@2/unbiased_cka" in summary
    assert len(list((tmp_path / "w" / "stores").iterdir())) == 6
    every = dataclasses.replace(config, workdir=str(tmp_path / "every"), layers=())
    stores = dataclasses.replace(every, stores=str(tmp_path / "w" / "stores"))
    assert similarity.run(stores)["similarity/pairs"] == 9
    assert len(list((tmp_path / "w" / "stores").iterdir())) == 12
    wrong = dataclasses.replace(config, workdir=str(tmp_path / "x"), layers=(0, 9))
    with pytest.raises(ValueError, match=r"layers must be from -3 to 2 .* \(0, 9\)"):
        similarity.run(wrong)


@pytest.mark.slow
def test_bad_flags_are_refused(planted, tmp_path):
    with pytest.raises(
        RunError, match=r"must be all, linear_cka, .* got 'ckaa'; did you mean"
    ):
        similarity.run(_config(planted, tmp_path / "a", measures=("ckaa",)))
    with pytest.raises(RunError, match=r"missing: --models .two or more"):
        similarity.run(similarity.SimilarityConfig(workdir=str(tmp_path / "b")))
    with pytest.raises(ValueError, match="too few for 12 directions"):
        similarity.run(
            _config(planted, tmp_path / "c", measures=("svcca",), rank=7, fit_rows=40)
        )
