"""Gemma 1 to 3 (arXiv 2403.08295, 2408.00118, 2503.19786) and VaultGemma (2510.15001).

Only the text part of Gemma 3.
"""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.by_layer import read_windows, rope_of_kind
from helix_jax.models.families.common import (
    ROTARY_BUFFERS,
    Family,
    gated_parts,
    gated_sizes,
    read_activation,
    read_rope,
)
from helix_jax.models.families.layout import PRE_NORMS, SANDWICH_NORMS, gated_rules
from helix_jax.models.spec import ModelSpec


def gemma_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a gemma config."""
    config = ConfigReader(raw)
    parts = gated_parts(config, raw)
    bias = config.take("attention_bias", False)
    config.expect("use_bidirectional_attention", False)
    spec = ModelSpec(
        **parts,
        norm_unit_offset=True,
        embed_scale=parts["width"] ** 0.5,
        qkv_bias=bias,
        out_bias=bias,
    )
    config.finish()
    return spec


def _shared(config: ConfigReader, raw: Mapping[str, Any]) -> dict[str, Any]:
    sizes = gated_sizes(config, raw)
    bias = config.take("attention_bias", False)
    window = config.take("sliding_window", None)
    both_ways = config.take("use_bidirectional_attention", False)
    if both_ways and window is not None:
        window = window // 2 + 1  # it counts both sides, ours counts one
    return sizes | {
        "block": "sandwich",
        "norm_unit_offset": True,
        "activation": read_activation(config, "hidden_activation"),
        "embed_scale": sizes["width"] ** 0.5,
        "causal": not both_ways,
        "windows": read_windows(config, sizes["num_layers"], window),
        "attention_scale": config.take("query_pre_attn_scalar") ** -0.5,
        "logit_softcap": config.take("final_logit_softcapping", None),
        "qkv_bias": bias,
        "out_bias": bias,
    }


def gemma2_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a gemma2 config; vaultgemma has norms only before its branches."""
    config = ConfigReader(raw)
    config.expect("hidden_act", raw.get("hidden_activation"))
    config.expect("use_bidirectional_attention", False)
    shared = _shared(config, raw)
    if config.family == "vaultgemma":
        shared["block"] = "pre"
    spec = ModelSpec(
        **shared,
        rope=read_rope(config, shared["head_width"]),
        attention_softcap=config.take("attn_logit_softcapping", None),
    )
    config.finish()
    return spec


def gemma3_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a gemma3_text config: two rotary bases and normed heads."""
    config = ConfigReader(raw)
    shared = _shared(config, raw)
    # Inherited from gemma2 and without effect: gemma3's attention never applies it.
    config.take("attn_logit_softcapping", None)
    # Older files give a pattern; transformers turns it into layer_types.
    config.take("sliding_window_pattern", None)
    config.take("_sliding_window_pattern", None)
    width, most = shared["head_width"], shared["max_tokens"]
    spec = ModelSpec(
        **shared,
        qk_norm="head",
        rope=rope_of_kind(config, "full_attention", width, most),
        local_rope=rope_of_kind(config, "sliding_attention", width, most),
    )
    config.finish()
    return spec


RULES = gated_rules(norms=SANDWICH_NORMS)
GEMMA = Family(
    "gemma", gemma_from_hf, gated_rules(norms=PRE_NORMS), ignored=ROTARY_BUFFERS
)
GEMMA2 = Family("gemma2", gemma2_from_hf, RULES, ignored=ROTARY_BUFFERS)
VAULTGEMMA = Family("vaultgemma", gemma2_from_hf, RULES, ignored=ROTARY_BUFFERS)
GEMMA3 = Family("gemma3_text", gemma3_from_hf, RULES, ignored=ROTARY_BUFFERS)
