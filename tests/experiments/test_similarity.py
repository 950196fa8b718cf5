"""The similarity experiment: every measure, layers, nulls, intervals; errors."""

import dataclasses

import numpy as np
import pytest

from experiments import similarity
from experiments.similarity_scores import MEASURES, left_out_rows
from helix_jax.errors import RunError
from helix_jax.reports import load_blocks
from helix_jax.text.hashing import unit_hash
from tests.experiments.told import require_told


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Two files of embeddings with a common part, and their labelled texts."""
    folder = tmp_path_factory.mktemp("planted")
    rng = np.random.default_rng(0)
    ids = [f"doc{i // 2}#{i % 2}" for i in range(900)]
    labels = rng.integers(3, size=900)
    shared = rng.normal(size=(900, 4)) + 3 * np.eye(3, 4)[labels]
    for name, width in (("a", 7), ("b", 5)):
        rows = shared @ rng.normal(size=(4, width)) + rng.normal(size=(900, width))
        np.savez(folder / f"{name}.npz", ids=np.array(ids), embeddings=rows)
    lines = [
        f'{{"id": "{i}", "text": "text {i}", "label": "{c}"}}\n'
        for i, c in zip(ids, labels)
    ]
    (folder / "texts.jsonl").write_text("".join(lines))
    return folder


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
    wrong = dataclasses.replace(config, workdir=str(tmp_path / "x"), layers=(0, 9))
    with pytest.raises(ValueError, match=r"layers must be from -3 to 2 .* \(0, 9\)"):
        similarity.run(wrong)


def test_left_out_rows_are_of_whole_documents():
    import jax

    documents = [str(i // 3) for i in range(120)]
    kept = left_out_rows(documents, jax.random.key(0))
    assert len(kept) == 20
    assert {len(rows) for rows in kept} == {114}
    for rows in kept:
        gone = set(documents) - {documents[row] for row in rows}
        assert len(gone) == 2


def test_rows_are_chosen_by_hash():
    ids = [f"t{i}" for i in range(50)]
    chosen = similarity.chosen_rows(ids, 10)
    assert list(chosen) == sorted(chosen)
    marks = [unit_hash(one, salt="similarity") for one in ids]
    assert set(chosen) == set(np.argsort(marks)[:10])
    assert (
        len(similarity.chosen_rows(ids, 0))
        == len(similarity.chosen_rows(ids, 99))
        == 50
    )


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
