"""LoRA adapters: merged as peft merges them, or refused by name."""

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import peft
import pytest
import torch
import transformers
from safetensors.numpy import load_file, save_file

from helix_jax.errors import CheckpointError
from helix_jax.models import (
    apply_model,
    flatten,
    load_model,
    load_tokenizer,
    save_model,
)

from ..activations.made import make_tokenizer
from .twins import VOCABULARY, build_twin, twin_states

TOKENS = np.random.default_rng(6).integers(3, VOCABULARY, (2, 7))
MASK = np.ones(TOKENS.shape, bool)
forward = jax.jit(apply_model, static_argnames=("spec", "logits"))
ALPHAS = {"alpha_pattern": {"layers.1.mlp.up_proj": 3, "q_proj": 5}}
RANKS = {"rank_pattern": {r"layers\.0\..*q_proj": 5, "down_proj": 1}}
# twin -> settings of adapters; fused projections, Conv1D, whole tensors, biases.
ADAPTERS = {
    "llama": [
        {"target_modules": ["q_proj", "down_proj"]},
        {"target_modules": ["q_proj", "up_proj", "down_proj"], **ALPHAS, **RANKS},
        {"target_modules": ["v_proj"], "use_rslora": True, "r": 3},
        {"target_modules": "all-linear"},
        {"target_modules": r".*\.layers\.[02]\..*o_proj"},
        {"target_modules": ["o_proj"], "layers_to_transform": [0, 2]},
        {
            "target_modules": ["k_proj"],
            "layers_to_transform": 1,
            "layers_pattern": "layers",
        },
        {"target_modules": ["gate_proj", "q_proj"], "exclude_modules": ["q_proj"]},
        {"target_modules": ["embed_tokens", "q_proj"]},
        {"target_modules": ["lm_head"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["norm"]},
    ],
    "llama_biased": [
        {"target_modules": ["q_proj", "up_proj"], "bias": "lora_only"},
        {"target_modules": ["q_proj", "up_proj"], "bias": "all"},
    ],
    "gpt2": [
        {"target_modules": ["c_attn"], "fan_in_fan_out": True},
        {"target_modules": ["c_attn", "c_proj", "c_fc"], "fan_in_fan_out": False},
        {"target_modules": ["attn.c_proj"], "bias": "all"},
    ],
    "gpt_neox": [
        {"target_modules": ["query_key_value", "dense"]},
        {"target_modules": ["dense_4h_to_h"], "modules_to_save": ["embed_in"]},
    ],
    "phi3": [{"target_modules": ["qkv_proj", "gate_up_proj"], "r": 2}],
    "glm": [{"target_modules": ["gate_up_proj", "q_proj"], "bias": "all"}],
    "codegen": [{"target_modules": ["qkv_proj", "fc_in"]}],
    "falcon_new": [{"target_modules": ["query_key_value"], "bias": "all"}],
    "apertus": [{"target_modules": "all-linear"}],
    "starcoder2": [{"target_modules": "all-linear"}],
    "bert": [
        {"target_modules": ["query", "value", "dense"]},
        {"target_modules": ["key"], "bias": "all"},
    ],
    "gemma3": [{"target_modules": "all-linear"}],
    "opt": [{"target_modules": ["q_proj", "fc1"]}],
}
CASES = [(name, i) for name, cases in ADAPTERS.items() for i in range(len(cases))]


def write_adapter(theirs, folder: Path, **settings) -> torch.nn.Module:
    """Save a random adapter of a model; gives the model with it merged by peft."""
    settings = {"r": 4, "lora_alpha": 6, "init_lora_weights": False} | settings
    # Whole modules are trained too, so they differ from the base's.
    model = peft.get_peft_model(theirs, peft.LoraConfig(**settings))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.add_(0.2 * noise)
    model.save_pretrained(folder)
    return model.merge_and_unload().eval()


def logits_of(folder) -> np.ndarray:
    model = load_model(str(folder))
    return np.asarray(forward(model.params, model.spec, TOKENS, logits=True).logits)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("name", "number"), CASES)
def test_adapters_are_merged_as_peft_merges_them(twin, tmp_path, name, number):
    settings = ADAPTERS[name][number]
    plain, base = twin(name)
    # Beside the full weights, as transformers reads them too.
    folder = Path(shutil.copytree(base.folder, tmp_path / "both"))
    merged = write_adapter(build_twin(name), folder, **settings)
    wanted = twin_states(merged, TOKENS, MASK)[1]
    before = twin_states(plain, TOKENS, MASK)[1]
    assert np.abs(wanted - before).max() > 0.1
    assert np.abs(logits_of(folder) - wanted).max() < 1e-4
    auto = type(plain)
    theirs = auto.from_pretrained(folder, attn_implementation="eager").eval()
    assert np.abs(logits_of(folder) - twin_states(theirs, TOKENS, MASK)[1]).max() < 1e-4
    # Alone, with the base by name.
    alone = tmp_path / "alone"
    alone.mkdir()
    for file in folder.glob("adapter_*"):
        shutil.copy(file, alone)
    change(alone, base_model_name_or_path=str(base.folder))
    np.testing.assert_array_equal(logits_of(alone), logits_of(folder))
    shutil.copy(base.folder / "config.json", alone)
    np.testing.assert_array_equal(logits_of(alone), logits_of(folder))


def change(folder: Path, **settings) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


@pytest.fixture
def adapted(twin, tmp_path):
    """A llama with an adapter beside it, to be damaged."""
    _, base = twin("llama")
    folder = Path(shutil.copytree(base.folder, tmp_path / "llama"))
    write_adapter(build_twin("llama"), folder, target_modules=["q_proj", "up_proj"])
    return folder


def test_the_fingerprint_names_the_adapter(twin, adapted):
    _, base = twin("llama")
    first = load_model(str(adapted)).fingerprint
    plain = base.fingerprint
    assert {key: first[key] for key in plain} == plain
    assert set(first) == {*plain, "adapter"}
    change(adapted, lora_alpha=7)
    second = load_model(str(adapted)).fingerprint
    assert first["adapter"]["config"] != second["adapter"]["config"]
    rewrite(adapted, lambda t: {k: 2 * v for k, v in t.items()})
    third = load_model(str(adapted)).fingerprint
    assert third["adapter"]["weights"] != second["adapter"]["weights"]
    assert third["weights"] == plain["weights"]


def test_half_precision_is_merged_before_it_is_rounded(adapted):
    wide = dict(flatten(load_model(str(adapted)).params))
    narrow = dict(flatten(load_model(str(adapted), dtype="bfloat16").params))
    for path, value in wide.items():
        np.testing.assert_array_equal(value.astype(jnp.bfloat16), narrow[path])


def test_a_torch_file(adapted):
    wanted = logits_of(adapted)
    file = adapted / "adapter_model.safetensors"
    state = {name: torch.tensor(value) for name, value in load_file(file).items()}
    file.unlink()
    torch.save(state, adapted / "adapter_model.bin")
    np.testing.assert_array_equal(logits_of(adapted), wanted)


def rewrite(folder: Path, edit) -> None:
    file = folder / "adapter_model.safetensors"
    save_file(edit(load_file(file)), file, metadata={"format": "pt"})


A = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
SMALL = np.ones((4, 30), np.float32)
SETTINGS = [
    ({"peft_type": "IA3"}, r"peft_type is 'IA3'; only LORA"),
    ({"peft_type": "PREFIX_TUNING"}, r"peft_type is 'PREFIX_TUNING'"),
    ({"peft_type": None}, r"peft_type is None"),
    ({"use_dora": True}, r"'use_dora': True.* not honoured"),
    ({"lora_bias": True}, r"'lora_bias': True"),
    ({"init_lora_weights": "pissa"}, r"'init_lora_weights': 'pissa'"),
    ({"init_lora_weights": "olora"}, r"'init_lora_weights': 'olora'"),
    ({"layer_replication": [[0, 2], [1, 3]]}, r"'layer_replication'"),
    ({"trainable_token_indices": [1]}, r"'trainable_token_indices'"),
    ({"alora_invocation_tokens": [1, 2]}, r"'alora_invocation_tokens'"),
    ({"made_up_variant": {"a": 1}}, r"'made_up_variant'"),
    (
        {"r": 3},
        r"_proj has factors \[4, 32\] and \[48, 4\], but its config says rank 3",
    ),
    ({"r": "4"}, r"'r': '4'"),
    ({"lora_alpha": None}, r"'lora_alpha': None"),
    ({"r": True}, r"'r': True"),
    ({"use_rslora": "false"}, r"'use_rslora': 'false'"),
    ({"alpha_pattern": {"q_proj": "x"}}, r"'alpha_pattern': \{'q_proj': 'x'\}"),
    ({"rank_pattern": {"(": 4}}, r"'rank_pattern': \{'\(': 4\}"),
    ({"target_modules": "(q_proj"}, r"'target_modules': '\(q_proj'"),
    ({"exclude_modules": "*"}, r"'exclude_modules': '\*'"),
    ({"rank_pattern": {"up_proj": 2}}, r"up_proj has factors .* says rank 2"),
    (
        {"target_modules": ["q_proj", "up_proj", "v_proj"]},
        r"target_modules name model\.layers\.0\.self_attn\.v_proj\.weight, for which",
    ),
]
FILES = [
    (lambda t: {k: v for k, v in t.items() if k != A}, r"q_proj has only \['B'\]"),
    (
        lambda t: t | {A: SMALL},
        r"needs a tensor of shape \[48, 30\], the base has \[48, 32\]",
    ),
    (
        lambda t: (
            t
            | {
                A.replace("0.self", "7.self"): t[A],
                A.replace("0.self", "7.self").replace("A.w", "B.w"): SMALL.T,
            }
        ),
        r"changes \['model\.layers\.7\.self_attn\.q_proj'\], which the base does not",
    ),
    (
        lambda t: {k.replace("q_proj", "Wqkv"): v for k, v in t.items()},
        r"Wqkv.*', which this model does not have",
    ),
    (
        lambda t: t | {A.replace("A.weight", "magnitude_vector"): SMALL[:, 0]},
        r"lora_magnitude_vector' belongs to a variant of LoRA",
    ),
    (
        lambda t: {k: v * np.float32(np.nan) for k, v in t.items()},
        r"adapter_model\.safetensors: .* holds NaN or infinity",
    ),
    (lambda t: {}, r"holds no tensors"),
]


@pytest.mark.parametrize(("settings", "message"), SETTINGS)
def test_settings_that_cannot_be_merged(adapted, settings, message):
    change(adapted, **settings)
    with pytest.raises(CheckpointError, match=message):
        load_model(str(adapted))


@pytest.mark.parametrize(("edit", "message"), FILES)
def test_weights_that_cannot_be_merged(adapted, edit, message):
    rewrite(adapted, edit)
    with pytest.raises(CheckpointError, match=message):
        load_model(str(adapted))


def test_an_adapter_without_weights(adapted):
    (adapted / "adapter_model.safetensors").unlink()
    with pytest.raises(
        CheckpointError, match="no adapter weights: expected adapter_mo"
    ):
        load_model(str(adapted))


def test_an_adapter_alone_whose_base_is_not_there(adapted, tmp_path):
    for name in ("config.json", "model.safetensors"):
        (adapted / name).unlink()
    for base, message in (
        (str(tmp_path / "gone"), r"is an adapter of '.*gone', which is not available"),
        (None, r"names no base model"),
        (str(adapted), r"which is an adapter itself"),
    ):
        change(adapted, base_model_name_or_path=base)
        with pytest.raises(CheckpointError, match=message):
            load_model(str(adapted))


def test_an_adapter_without_a_tokenizer_reads_as_its_base(adapted, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    for file in adapted.glob("adapter_*"):
        shutil.copy(file, alone)
    change(alone, base_model_name_or_path=str(adapted))
    make_tokenizer(60).save_pretrained(adapted)
    text = "the old cat sleeps"
    ids = load_tokenizer(str(adapted))(text)["input_ids"]
    assert load_tokenizer(str(alone))(text)["input_ids"] == ids
    make_tokenizer(20).save_pretrained(alone)
    assert load_tokenizer(str(alone))(text)["input_ids"] != ids


def test_a_model_is_not_saved_beside_an_adapter(adapted):
    """It would be merged into the new weights when they are read."""
    model = load_model(str(adapted))
    config = transformers.AutoConfig.from_pretrained(adapted)
    with pytest.raises(CheckpointError, match="holds an adapter"):
        save_model(adapted, model.params, model.spec, config, dtype="float32")


def test_an_adapter_of_another_base(twin, adapted):
    """What does not fit is refused; other weights of the same shapes cannot be told."""
    for name in ("qwen2", "gpt2"):
        _, base = twin(name)
        for part in ("config.json", "model.safetensors"):
            shutil.copy(base.folder / part, adapted)
        with pytest.raises(CheckpointError, match=r"trained on|does not have"):
            load_model(str(adapted))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target_modules": ["wte", "c_attn"]}, r"transformer\.wte.* ties to the head"),
        ({"target_modules": ["lm_head"]}, r"lm_head.* ties to the embedding"),
        (
            {"target_modules": ["c_attn"], "modules_to_save": ["lm_head"]},
            "the config t",
        ),
    ],
)
def test_one_of_two_tied_tensors(twin, tmp_path, settings, message):
    _, base = twin("gpt2")
    folder = Path(shutil.copytree(base.folder, tmp_path / "gpt2"))
    write_adapter(build_twin("gpt2"), folder, **settings)
    with pytest.raises(CheckpointError, match=message):
        load_model(str(folder))


def test_adapters_in_folders_within_are_not_read(twin, adapted, tmp_path):
    """As in transformers: a model's own folder is what counts."""
    _, base = twin("llama")
    folder = Path(shutil.copytree(base.folder, tmp_path / "outer"))
    shutil.copytree(adapted, folder / "adapter")
    np.testing.assert_array_equal(logits_of(folder), logits_of(base.folder))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert not getattr(theirs, "_hf_peft_config_loaded", False)


@pytest.mark.parametrize("kind", ["IA3Config", "LoHaConfig", "AdaLoraConfig"])
def test_other_kinds_of_adapters_of_peft(twin, tmp_path, kind):
    _, base = twin("llama")
    folder = Path(shutil.copytree(base.folder, tmp_path / "llama"))
    settings = {"target_modules": ["q_proj"]}
    if kind == "IA3Config":
        settings["feedforward_modules"] = []
    if kind == "AdaLoraConfig":
        settings["total_step"] = 10
    config = getattr(peft, kind)(**settings)
    peft.get_peft_model(build_twin("llama"), config).save_pretrained(folder)
    with pytest.raises(
        CheckpointError, match=f"peft_type is '{config.peft_type.value}'"
    ):
        load_model(str(folder))
