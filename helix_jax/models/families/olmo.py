"""OLMo 1 to 3 (arXiv 2402.00838, 2501.00656, 2512.13961)."""

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
)
from helix_jax.models.families.layout import POST_NORMS, PRE_NORMS, gated_rules
from helix_jax.models.spec import ModelSpec


def olmo_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of an olmo config: layer norms without weights."""
    config = ConfigReader(raw)
    bias = config.take("attention_bias", False)
    spec = ModelSpec(
        **gated_parts(config, raw, epsilon=1e-5),
        norm="layer",
        norm_scale=False,
        qkv_clip=config.take("clip_qkv", None),
        qkv_bias=bias,
        out_bias=bias,
    )
    config.finish()
    return spec


def olmo2_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of an olmo2 config: norms after each branch, normed queries and keys."""
    config = ConfigReader(raw)
    bias = config.take("attention_bias", False)
    config.expect("clip_qkv")  # olmo has it
    spec = ModelSpec(
        **gated_parts(config, raw),
        block="post",
        qk_norm="full",
        qkv_bias=bias,
        out_bias=bias,
    )
    config.finish()
    return spec


def olmo3_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of an olmo3 config: olmo2 with windows, which have their own angles."""
    config = ConfigReader(raw)
    sizes = gated_sizes(config, raw)
    bias = config.take("attention_bias", False)
    window = config.take("sliding_window", None)
    width, most = sizes["head_width"], sizes["max_tokens"]
    spec = ModelSpec(
        **sizes,
        rope=rope_of_kind(config, "full_attention", width, most),
        local_rope=rope_of_kind(config, "sliding_attention", width, most),
        block="post",
        activation=read_activation(config, "hidden_act"),
        windows=read_windows(config, sizes["num_layers"], window),
        attention_scale=width**-0.5,
        qk_norm="full",
        qkv_bias=bias,
        out_bias=bias,
    )
    config.finish()
    return spec


_POST = gated_rules(norms=POST_NORMS)
OLMO = Family(
    "olmo", olmo_from_hf, gated_rules(norms=PRE_NORMS), ignored=ROTARY_BUFFERS
)
OLMO2 = Family("olmo2", olmo2_from_hf, _POST, ignored=ROTARY_BUFFERS)
OLMO3 = Family("olmo3", olmo3_from_hf, _POST, ignored=ROTARY_BUFFERS)
