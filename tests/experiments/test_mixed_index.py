"""A share of an old index embedded again, and an index that grows, tiny."""

import dataclasses

import numpy as np
import pytest

from experiments.index_drift import DriftConfig
from experiments.index_drift import run as run_drift
from experiments.mixed_index import MixedConfig, compute
from experiments.mixed_index import run as run_mixed
from helix_jax.errors import CorpusError, RunError
from helix_jax.reports import load_blocks
from tests.experiments.told import require_told

MODELS = {"source": "pebble-llama", "target": "pebble-qwen3", "tiny": True}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return str(tmp_path_factory.mktemp("halves"))


@pytest.mark.slow
def test_a_share_embedded_again_gains_and_a_shuffled_map_finds_no_more(
    stores, tmp_path
):
    config = MixedConfig(
        workdir=str(tmp_path), stores=stores, shares=(0, 20, 100), **MODELS
    )
    summary = run_mixed(config)

    def recall(arm, k=100):
        return summary[f"mixed/recall_at_{k}_{arm}"]

    for way in ("mapped", "rotated", "backward"):
        assert recall(f"{way}_random_0") < recall(f"{way}_random_100")
        for order in ("random", "predicted", "true"):
            assert recall(f"{way}_{order}_100") == recall("reindexed")
        gain = f"mixed/gain_at_100_{way}_random_20"
        assert summary[gain] == pytest.approx(
            recall(f"{way}_random_20") - recall(f"{way}_random_0"), abs=1e-6
        )
        assert recall(f"{way}_shuffled_20") < recall(f"{way}_random_20")
        assert np.isfinite(summary[f"mixed/{way}_rank_agreement"])
    assert run_mixed(config) == summary
    assert len(load_blocks(tmp_path)) == 6
    require_told(tmp_path, "pebble-llama -> pebble-qwen3, docstrings", "to test on")


@pytest.mark.slow
def test_an_index_that_grows_is_asked_by_maps_that_saw_more_of_it(stores, tmp_path):
    config = DriftConfig(workdir=str(tmp_path), stores=stores, **MODELS)
    summary = run_drift(config)
    arms = {
        name.removeprefix("drift/r2_later_")
        for name in summary
        if name.startswith("drift/r2_later_")
    }
    largest = summary["drift/later_fit_texts"]
    sizes = (30, 100, largest)
    kinds = ("refreshed", "weighted", "refit", "rotated")
    assert arms == {"kept", "rotation", "shuffled"} | {
        f"{k}_{n}" for k in kinds for n in sizes
    }
    r2 = {arm: summary[f"drift/r2_later_{arm}"] for arm in arms}
    assert r2["shuffled"] < 0.05 < r2["kept"] < r2[f"weighted_{largest}"]
    # A map knows texts as it was fitted on better than later ones.
    assert summary["drift/r2_earlier_kept"] > r2["kept"] + 0.02
    assert r2[f"weighted_{largest}"] >= r2[f"refreshed_{largest}"] - 0.01
    for time in ("earlier", "later"):
        recall = f"drift/recall_at_100_{time}"
        assert summary[f"{recall}_kept"] > 1.5 * summary[f"{recall}_shuffled"]
    assert run_drift(config) == summary
    require_told(tmp_path, "pebble-llama -> pebble-qwen3", "then topics", "to fit on")


def test_what_cannot_be_is_refused_before_work(tmp_path):
    config = MixedConfig(workdir=str(tmp_path / "w"), **MODELS)
    with pytest.raises(RunError, match="--shares"):
        run_mixed(dataclasses.replace(config, shares=(101,)))
    np.savez(
        tmp_path / "x.npz", embeddings=np.eye(3, dtype=np.float32), ids=list("abc")
    )
    with pytest.raises(CorpusError, match="must be models and not embeddings:FILE"):
        compute.prepare(
            dataclasses.replace(config, source=f"embeddings:{tmp_path / 'x.npz'}")
        )
    assert not (tmp_path / "w").exists()
