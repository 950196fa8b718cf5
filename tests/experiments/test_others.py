"""extract, fit and similarity end to end, tiny."""

import json

import numpy as np
import pytest

from experiments import extract, fit, similarity
from helix_jax.activations import open_store
from helix_jax.alignment import load_map
from helix_jax.errors import FingerprintError
from helix_jax.maps_numpy import read_map
from helix_jax.reports import Curves, Table, load_blocks
from tests.experiments.told import require_answered, require_told


@pytest.mark.slow
def test_fit_writes_a_map_for_these_models_only(models, texts, tmp_path):
    config = fit.FitConfig(
        workdir=str(tmp_path / "w"),
        source=str(models["llama"]),
        target=str(models["gpt_neox"]),
        data=str(texts),
        max_tokens=64,
    )
    summary = fit.run(config)
    for control in ("shuffled", "random", "mean"):
        assert summary["test/r2"] > summary[f"test/{control}_r2"] + 0.2
    assert summary["test/r2"] == summary["fit/r2"]
    assert summary["test/r2_low"] < summary["test/r2"] < summary["test/r2_high"]
    table, spectrum, confidence = load_blocks(tmp_path / "w")
    assert (type(table), type(spectrum)) == (Table, Curves)
    assert confidence.rows[0][0] == "cosine"
    assert read_map(tmp_path / "w" / "map").confidence is not None
    card = (tmp_path / "w" / "map" / "README.md").read_text()
    assert f"| test/r2 | {summary['test/r2']:.4g} |" in card
    assert "Data: texts.jsonl; its licence: unknown." in card
    assert summary["confidence/cosine_coverage"] > 0.6
    assert [row[0] for row in table.rows] == list(fit.MAPS.values())
    assert table.rows[0][1].startswith(f"{summary['test/r2']:.3f} [")
    shares = {
        name: sum(value for _, value in points)
        for name, points in spectrum.series.items()
    }
    assert shares["target, before any map"] == pytest.approx(1, abs=1e-6)
    # All but what the mean of the residual adds.
    unexplained = 1 - summary["test/r2"]
    assert unexplained - 0.05 < shares["residual, ridge"] <= unexplained + 1e-6
    assert shares["residual, control: shuffled pairs"] > 0.9
    assert fit.run(config) == summary
    require_told(tmp_path / "w", "llama", "gpt_neox", "texts.jsonl", "to test on")
    affine, made_of = load_map(tmp_path / "w" / "map")
    assert affine.kernel.shape == (32, 32)
    assert made_of["source"]["model"] == made_of["target"]["model"] == "model"
    with pytest.raises(FingerprintError, match="weights"):
        load_map(tmp_path / "w" / "map", source=made_of["target"])


@pytest.mark.slow
def test_a_map_fitted_without_stores_is_as_sure_of_its_rows(models, texts, tmp_path):
    """All rows of so few texts are kept, so that both calibrations have the same."""
    found = []
    for stores in ("", "none"):
        folder = tmp_path / f"w{stores}"
        config = fit.FitConfig(
            workdir=str(folder),
            source=str(models["llama"]),
            target=str(models["gpt_neox"]),
            data=str(texts),
            stores=stores,
            limit=900,
            max_tokens=24,
        )
        summary = fit.run(config)
        told = {k: v for k, v in summary.items() if k.startswith("confidence/")}
        found.append((told, read_map(folder / "map").confidence.arrays()))
    (told, arrays), (streamed, of_stream) = found
    assert streamed == pytest.approx(told, abs=1e-3)
    for name, array in arrays.items():
        np.testing.assert_allclose(of_stream[name], array, rtol=1e-2, atol=1e-3)


@pytest.mark.slow
def test_similarity_of_a_model_with_another(models, texts, tmp_path):
    copies = {}
    for name, model in models.items():
        copies[name] = tmp_path / "copies" / name
        copies[name].mkdir(parents=True)
        for file in model.iterdir():
            (copies[name] / file.name).write_bytes(file.read_bytes())
    config = similarity.SimilarityConfig(
        workdir=str(tmp_path / "w"),
        models=tuple(map(str, copies.values())),
        data=str(texts),
        max_tokens=64,
    )
    summary = similarity.run(config)
    start = "similarity/llama/gpt_neox"
    chance = abs(summary[f"{start}/unbiased_cka_shuffled"])
    assert chance + 0.02 < summary[f"{start}/unbiased_cka"] < 1
    assert summary[f"{start}/unbiased_cka"] < summary[f"{start}/linear_cka"]
    assert summary[f"{start}/r2_forward"] > 0.2


@pytest.mark.slow
def test_extract_makes_one_store_a_split(models, texts, tmp_path):
    config = extract.ExtractConfig(
        workdir=str(tmp_path / "w"),
        model=str(models["llama"]),
        data=str(texts),
        layers=(0, -1),
        tiny=True,
    )
    summary = extract.run(config)
    stores = sorted((tmp_path / "w" / "stores").iterdir())
    assert len(stores) == 3
    assert sum(len(open_store(path)) for path in stores) == 200
    assert open_store(stores[0]).layers == (0, 2)
    rows = sum(summary[f"{split}/rows"] for split in ("fit", "select", "test"))
    assert rows == 200
    tokens, cut = (
        sum(summary[f"{split}/{name}"] for split in ("fit", "select", "test"))
        for name in ("tokens", "truncated")
    )
    require_answered(tmp_path / "w", "200", f"{tokens:,}", f"{cut:,}", "64")
    assert json.loads((tmp_path / "w" / "config.json").read_text())["tiny"]
