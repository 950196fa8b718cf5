"""The generation experiment end to end, tiny; killed and resumed."""

import dataclasses
import json

import pytest

from experiments import generate
from helix_jax import assets
from helix_jax.errors import FingerprintError, RunError
from helix_jax.reports import load_blocks
from tests.experiments.told import require_told


def samples(folder):
    lines = (folder / "samples.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.slow
def test_a_map_is_fitted_and_used_and_a_killed_run_goes_on(models, texts, tmp_path):
    config = generate.GenerateConfig(
        workdir=str(tmp_path / "w"),
        source=str(models["llama"]),
        target=str(models["gpt_neox"]),
        data=str(texts),
        temperature=0.8,
        pairs=2000,
        max_new_tokens=8,
        resamples=100,
        tiny=True,
    )
    summary = generate.run(config)
    found = samples(tmp_path / "w")
    assert summary["generation/prompts"] == len(found) == 4
    assert summary["generation/tokens_per_second"] > 0
    for name in ("agreement_top1", "kl_nats", "perplexity_mapped"):
        for end in ("", "_shuffled", "_random", "_low", "_high"):
            assert f"generation/{name}{end}" in summary
    for name in ("perplexity_native_target", "perplexity_native_source"):
        assert summary[f"generation/{name}"] > 1
    assert {"text", "native_source", "native_target", "shuffled"} <= found[0].keys()
    if assets.installed_encoder():
        assert -1 <= summary["generation/cosine_target"] <= 1
        assert summary["generation/cosine_target_native_target"] > 0.999
    table, texts_side_by_side = load_blocks(tmp_path / "w")
    require_told(tmp_path / "w", "llama", "gpt_neox", "texts.jsonl", "4 prompts")
    assert table.rows[0][0] == "mapped"
    assert texts_side_by_side.items[0]["source alone"] == found[0]["native_source"]
    (tmp_path / "w" / "DONE").unlink()
    path = tmp_path / "w" / "samples.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:3]) + lines[3][:20])
    again = generate.run(config)
    assert samples(tmp_path / "w") == found
    assert again["generation/tokens"] == summary["generation/tokens"]
    other = dataclasses.replace(
        config,
        workdir=str(tmp_path / "o"),
        map=str(tmp_path / "w" / "map"),
        source=str(models["gpt_neox"]),
        target=str(models["llama"]),
    )
    with pytest.raises(FingerprintError, match="the source of the map"):
        generate.run(other)


def test_one_model_alone_and_one_prompt(models, tmp_path):
    config = generate.GenerateConfig(
        workdir=str(tmp_path / "w"),
        source=str(models["llama"]),
        prompt="The array",
        tiny=True,
    )
    summary = generate.run(config)
    assert summary["generation/prompts"] == 1
    assert samples(tmp_path / "w")[0]["repairs"] == 0
    with pytest.raises(RunError, match=r"missing: --source .* and --workdir"):
        generate.run(generate.GenerateConfig())
