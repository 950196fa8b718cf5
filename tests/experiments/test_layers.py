"""The layer sweep and the token maps end to end, tiny."""

import numpy as np
import pytest

from experiments import fit_tokens, layers
from helix_jax import assets
from helix_jax.alignment import load_map
from helix_jax.errors import RunError
from helix_jax.reports import Bars, Matrix, Table, load_blocks
from tests.experiments.told import require_told


@pytest.mark.slow
def test_layers_of_a_model_with_another(models, texts, tmp_path):
    config = layers.LayersConfig(
        workdir=str(tmp_path / "w"),
        source=str(models["llama"]),
        target=str(models["gpt_neox"]),
        data=str(texts),
        tiny=True,
    )
    summary = layers.run(config)
    places = {name.partition("/")[0] for name in summary}
    assert places == {"0-0", "0-2", "2-0", "2-2"}
    for place in places:
        assert summary[f"{place}/test/r2"] > 0
        assert np.isfinite(summary[f"{place}/generation/kl_nats"])
    last = "2-2/generation/kl_nats"
    assert summary[last] < summary[f"{last}_random_head"]
    before = load_blocks(tmp_path / "w")
    assert layers.run(config) == summary
    blocks = load_blocks(tmp_path / "w")
    require_told(tmp_path / "w", "llama", "gpt_neox", "texts.jsonl", "to test on")
    assert blocks == before
    *maps, table = blocks
    for one, measure in zip(maps, layers.MAPS, strict=True):
        assert isinstance(one, Matrix)
        assert one.rows == one.columns == ["0", "2"]
        assert one.values[1][0] == summary[f"2-0/{measure}"]
    assert isinstance(table, Table)
    assert [row[:2] for row in table.rows] == [[0, 0], [0, 2], [2, 0], [2, 2]]
    assert all(cell for row in table.rows for cell in row[2:])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["kl", "mlp"])
def test_token_maps_gain_on_ridge(texts, tmp_path, method):
    config = fit_tokens.FitTokensConfig(
        workdir=str(tmp_path / "w"),
        source=str(assets.model_path("pebble-llama")),
        target=str(assets.model_path("pebble-qwen3")),
        data=str(texts),
        map=method,
        gate="margin" if method == "kl" else "",
        gate_quality=0.6,
        tiny=True,
    )
    summary = fit_tokens.run(config)
    assert summary["generation/kl_nats_high"] < summary["generation/kl_nats_ridge_low"]
    assert summary["generation/gap_closed"] > 0.15
    assert summary["generation/kl_nats"] < summary["generation/kl_nats_shuffled"]
    if method == "kl":
        assert summary["gate/agreement"] > summary["gate/agreement_all"] + 0.05
        assert summary["gate/curve_gain"] > 0.05
    table, agreement, divergence, *gate = before = load_blocks(tmp_path / "w")
    assert (type(table), type(agreement), type(divergence)) == (Table, Bars, Bars)
    assert [row[0] for row in table.rows] == [
        *fit_tokens.ARMS.values(),
        *fit_tokens.NATIVE.values(),
    ]
    assert divergence.series["KL"][0] == [
        summary[f"generation/kl_nats{end}"] for end in ("", "_low", "_high")
    ]
    assert [type(one) for one in gate] == [Table] * (method == "kl")
    assert fit_tokens.run(config) == summary
    assert load_blocks(tmp_path / "w") == before
    require_told(tmp_path / "w", "pebble-llama -> ", "documents to test on")
    fitted, made_of = load_map(tmp_path / "w" / "map")
    assert fitted.widths == (128, 144)
    assert made_of["source"]["pooling"] == "token"


def test_kl_before_the_last_layer_is_refused(models, texts, tmp_path):
    config = fit_tokens.FitTokensConfig(
        workdir=str(tmp_path / "w"),
        source=str(models["llama"]),
        target=str(models["gpt_neox"]),
        data=str(texts),
        map="kl",
        tiny=True,
        target_layer=1,
        target_norm=False,
    )
    with pytest.raises(RunError, match="reads the target's head"):
        fit_tokens.run(config)
