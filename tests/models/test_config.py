"""Configs: what a family does not honour is refused by name, the rest is read."""

import json
import math

import pytest

from helix_jax.errors import CheckpointError
from helix_jax.models import FAMILIES, family_of, parameter_shapes
from helix_jax.models.config_file import read_config

from .published import PUBLISHED
from .twins import TWINS, twin_config

# The first twin of each family.
FIRST = {kind: name for name, (kind, _) in reversed(TWINS.items())}
INT4 = {"quant_method": "gptq", "bits": 4, "group_size": 128}
HARMLESS = {
    "transformers_version": "4.1.0",
    "torch_dtype": "float16",
    "_name_or_path": "somewhere/else",
    "use_cache": False,
    "attention_dropout": 0.3,
    "initializer_range": 0.5,
    "id2label": {"0": "no", "1": "yes"},
    "task_specific_params": {"summarization": {"min_length": 30}},
    "do_sample": True,
    "pruned_heads": {},
    "made_up_switch": None,
}
# Attributes of real models that change the states, with a value that ours do not have.
FOREIGN = [
    ("llama", "rope_interleaved", True),
    ("llama", "quantization_config", INT4),
    ("llama", "partial_rotary_factor", 0.5),
    ("llama", "is_causal", False),
    ("mistral", "attention_bias", True),
    ("mistral", "layer_types", ["full_attention"] * 3),
    ("qwen2", "use_mrope", True),
    ("qwen2", "is_causal", False),
    ("qwen3", "quantization_config", INT4),
    ("qwen3", "hidden_act", "quick_gelu"),
    ("gemma2", "use_bidirectional_attention", True),
    ("gemma2", "hidden_act", "silu"),
    ("gemma3_text", "use_bidirectional_attention", True),
    ("phi3", "lm_head_bias", True),
    ("phi3", "interpolate_factor", 4),
    ("phi3", "auto_map", {"AutoModel": "modeling_other.Other"}),
    ("gpt2", "scale_attn_by_inverse_layer_idx", True),
    ("gpt2", "reorder_and_upcast_attn", True),
    ("gpt2", "add_cross_attention", True),
    ("gpt_neo", "activation_function", "quick_gelu"),
    ("gpt_neox", "hidden_act", "quick_gelu"),
    ("gpt_neox", "is_decoder", True),
    ("olmo2", "clip_qkv", 8.0),
    ("opt", "layer_norm_elementwise_affine", False),
    ("bert", "position_embedding_type", "relative_key"),
    ("bert", "is_decoder", True),
    ("bert", "directionality", "uni"),
    ("roberta", "position_embedding_type", "relative_key_query"),
    ("roberta", "add_cross_attention", True),
]


def spec_of(folder, config):
    """The spec of a folder with this config.json."""
    (folder / "config.json").write_text(json.dumps(config))
    full = read_config(folder)
    return family_of(full["model_type"]).spec_from_hf(full)


def config_of(family):
    """What transformers would write for a family's twin."""
    config = twin_config(FIRST[family])
    return config.to_diff_dict() | {"model_type": family}


def test_every_family_has_a_twin_and_a_foreign_attribute():
    assert set(FIRST) == set(FAMILIES) == {family for family, _, _ in FOREIGN}
    assert {raw["model_type"] for _, raw in PUBLISHED.values()} == set(FAMILIES)


@pytest.mark.parametrize("value", [3, True, False, "yes", [1], {"a": 1}, 0.0])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_unknown_attribute_is_refused(tmp_path, family, value):
    config = config_of(family)
    spec_of(tmp_path, config)
    message = rf"{family}: config attributes .*'made_up_switch': .* not honoured"
    with pytest.raises(CheckpointError, match=message):
        spec_of(tmp_path, config | {"made_up_switch": value})


@pytest.mark.parametrize(("family", "name", "value"), FOREIGN)
def test_a_foreign_attribute_is_refused(tmp_path, family, name, value):
    config = config_of(family)
    with pytest.raises(CheckpointError, match=name):
        spec_of(tmp_path, config | {name: value})


@pytest.mark.parametrize("family", FAMILIES)
def test_harmless_attributes_change_nothing(tmp_path, family):
    config = config_of(family)
    assert spec_of(tmp_path, config | HARMLESS) == spec_of(tmp_path, config)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configs(tmp_path, name):
    """Every parameter is there: the shapes add up to the published number."""
    count, config = PUBLISHED[name]
    shapes = parameter_shapes(spec_of(tmp_path, config))
    assert sum(math.prod(shape) for shape in shapes.values()) == count


def test_two_bases_of_the_rotary_embedding(tmp_path):
    config = config_of("llama") | {"rope_theta": 1.0}
    config["rope_parameters"] = {"rope_type": "default", "rope_theta": 2.0}
    with pytest.raises(CheckpointError, match=r"rope_theta as 1\.0 and as 2\.0"):
        spec_of(tmp_path, config)


@pytest.mark.parametrize("kind", ["dynamic", "made_up"])
def test_unknown_kinds_of_rotary_embedding(tmp_path, kind):
    config = config_of("llama")
    config["rope_parameters"] = {
        "rope_type": kind,
        "rope_theta": 100.0,
        "factor": 2.0,
        "original_max_position_embeddings": 32,
    }
    with pytest.raises(CheckpointError, match=f"rope_type '{kind}' is not supported"):
        spec_of(tmp_path, config)
