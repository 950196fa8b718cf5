"""Caches of one model in another, a sibling, and the gate, end to end, tiny."""

import itertools
import json

import numpy as np
import pytest

from experiments import cache_gate, caches, finetune
from helix_jax.caches import load_cache_map
from helix_jax.caches.gate import SIGNALS
from helix_jax.errors import RunError, UnsupportedError
from helix_jax.models import load_model, load_tokenizer
from helix_jax.reports import load_blocks
from tests.experiments.told import require_told


def pair_config(folder, source, target, texts, **flags):
    return caches.CachesConfig(
        workdir=str(folder),
        source=source,
        target=target,
        data=str(texts),
        tiny=True,
        **flags,
    )


@pytest.mark.slow
def test_a_mapped_cache_is_worth_more_than_its_controls(texts, tmp_path):
    config = pair_config(tmp_path, "pebble-llama", "pebble-neox", texts)
    summary = caches.run(config)
    bits = {
        arm: summary[f"caches/bits_per_character_{arm}"]
        for arm in ("native", "mapped_2", "mapped_all", "none", "shuffled", "mean")
    }
    assert bits["native"] < bits["mapped_2"] < min(bits["shuffled"], bits["mean"])
    assert summary["caches/kl_nats_native"] == 0
    assert summary["caches/retention_mapped_2"] > summary["caches/retention_shuffled"]
    assert 0 < summary["gate/select_r2_mapped_2"] < 1
    assert summary["caches/attention_cosine_mapped_2"] > 0.2
    assert np.isfinite(summary["caches/kl_nats_trained"])
    assert summary["prompts/test_prompts"] == 8
    for name in ("rank_closeness_gate", "rank_retention_predicted_cosine"):
        assert -1 <= summary[f"prompts/{name}_low"] <= summary[f"prompts/{name}"] <= 1
    assert 0 <= summary["prompts/kept_25"] <= summary["prompts/kept_90"] <= 1
    before = load_blocks(tmp_path)
    # Killed behind the fit it reads no text for it again.
    maps = tmp_path / "parts" / "maps.npz"
    written = maps.stat().st_mtime_ns
    (tmp_path / "DONE").unlink()
    assert caches.run(config) == summary
    assert maps.stat().st_mtime_ns == written
    assert load_blocks(tmp_path) == before
    require_told(tmp_path, "pebble-llama -> pebble-neox", "to test on")
    models = [load_model(f"pebble-{name}") for name in ("llama", "neox")]
    found, made_of = load_cache_map(tmp_path / "map", *models)
    assert found.keys.layers.shape == (4, 2)
    assert made_of["made_of"]["rule"] == "after"


@pytest.mark.slow
def test_choices_are_asked_of_every_arm(texts, tmp_path):
    config = pair_config(
        tmp_path / "w",
        "pebble-llama",
        "pebble-llama",
        texts,
        layers=(1,),
        keep=1,
        rank=0,
        residual_rank=4,
        train_rank=0,
        choices=str(texts),
        endings=("one", "two", "three", "four"),
        questions=6,
        question_tokens=16,
    )
    summary = caches.run(config)
    assert summary["caches/retention_as_is"] == pytest.approx(1, abs=1e-3)
    assert summary["caches/choice_accuracy_native"] == pytest.approx(
        summary["caches/choice_accuracy_as_is"]
    )
    assert summary["caches/questions"] == 6
    # Nothing is to be changed, and the moments say so.
    assert summary["gate/select_r2_residual"] == pytest.approx(1, abs=1e-6)
    assert summary["caches/retention_residual"] == pytest.approx(1, abs=1e-3)


@pytest.fixture
def ended(tmp_path):
    """Runs of the twelve ordered pairs of four models, whose cosine tells retention."""
    rng = np.random.default_rng(0)
    for source, target in itertools.permutations("abcd", 2):
        folder = tmp_path / "runs" / f"{source}-{target}"
        folder.mkdir(parents=True)
        retention = rng.random()
        numbers = {f"gate/{name}_mapped_4": rng.random() for name in SIGNALS}
        numbers["gate/select_cosine_mapped_4"] = retention**2
        numbers["caches/retention_mapped_4"] = retention
        for end, way in (("_low", -0.1), ("_high", 0.1)):
            numbers[f"caches/retention_mapped_4{end}"] = retention + way
        config = {"experiment": "CachesConfig", "keep": 4}
        config |= {"source": f"models/{source}", "target": f"models/{target}"}
        (folder / "config.json").write_text(json.dumps(config))
        summary = numbers | {"caches/prompts": 20}
        (folder / "summary.json").write_text(json.dumps(summary))
        (folder / "DONE").touch()
    return tmp_path / "runs"


def test_the_gate_finds_the_measure_that_tells_retention(ended, tmp_path):
    config = cache_gate.CacheGateConfig(
        workdir=str(tmp_path / "w"), runs=(str(ended),), tiny=True
    )
    summary = cache_gate.run(config)
    assert summary["gate/pairs"] == 12
    assert summary["gate/rank_correlation_select_cosine"] == pytest.approx(1)
    assert summary["gate/rank_correlation_select_cosine_low"] == pytest.approx(1)
    assert summary["gate/rank_correlation_select_r2_low"] < 0.5
    assert summary["gate/rank_correlation_select_cosine_over_select_r2"] > 0.2
    require_told(tmp_path / "w", "12 pairs of 4 models")
    refused = (
        ({"runs": (str(ended),), "arm": "mapped_9"}, "--arm=mapped_9 was not measured"),
        ({"runs": (str(ended / "a-b"),)}, "needs three or more, of three models"),
        ({}, "missing: --runs"),
    )
    for number, (flags, said) in enumerate(refused):
        config = cache_gate.CacheGateConfig(
            workdir=str(tmp_path / f"{number}"), **flags
        )
        with pytest.raises(RunError, match=said):
            cache_gate.run(config)


@pytest.mark.slow
def test_a_sibling_reads_its_text_better_than_the_model_before(tmp_path):
    config = finetune.FinetuneConfig(
        workdir=str(tmp_path / "w"),
        model="pebble-llama",
        data="topics",
        learning_rate=5e-4,
        steps=16,
        tiny=True,
    )
    summary = finetune.run(config)
    assert summary["test/loss_nats"] < summary["test/loss_nats_before"]
    folder = str(tmp_path / "w" / "model")
    tuned, before = load_model(folder), load_model("pebble-llama")
    assert tuned.spec == before.spec
    assert load_tokenizer(folder)("a b")["input_ids"]
    assert np.abs(tuned.params["embed"] - before.params["embed"]).max() > 1e-4
    require_told(tmp_path / "w", "pebble-llama", "to test on")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"keep": 3}, "--keep=3 must be one of --layers=2,0"),
        (
            {"layers": (0,), "keep": 0, "rank": 8},
            "--rank=8 applies to the largest number in --layers=0",
        ),
        ({"residual_rank": 4}, "they have 4 of 128 and 4 of 144"),
        ({"prompt": 5}, "a prompt of 5 tokens has none between"),
        ({"prompt": 250}, "more than the 256 tokens of --source"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(texts, tmp_path, flags, said):
    config = pair_config(tmp_path / "w", "pebble-llama", "pebble-neox", texts, **flags)
    with pytest.raises(RunError, match=said):
        caches.run(config)
    assert not (tmp_path / "w").exists()


def test_an_encoder_is_refused_by_name(texts, tmp_path, real_model):
    encoder = real_model("minilm-l6")
    config = pair_config(tmp_path / "w", encoder, "pebble-neox", texts)
    with pytest.raises(UnsupportedError, match="bert is an encoder"):
        caches.run(config)
