"""Qwen2 and Qwen2.5 (arXiv 2407.10671): llama with biased queries, keys, values."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import (
    PRE_NORMS,
    ROTARY_BUFFERS,
    Family,
    gated_rules,
    gated_sizes,
    read_activation,
    read_rope,
    read_windows,
)
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a qwen2 config."""
    config = ConfigReader(raw)
    sizes = gated_sizes(config, raw)
    window = config.take("sliding_window", None)
    if not config.take("use_sliding_window", False):
        window = None
    config.take("max_window_layers", None)  # layer_types says the same, layer by layer
    spec = ModelSpec(
        **sizes,
        activation=read_activation(config, "hidden_act"),
        rope=read_rope(config, sizes["head_width"]),
        attention_scale=sizes["head_width"] ** -0.5,
        windows=read_windows(config, sizes["num_layers"], window),
        qkv_bias=True,
    )
    config.finish()
    return spec


FAMILY = Family(
    "qwen2", spec_from_hf, gated_rules(norms=PRE_NORMS), ignored=ROTARY_BUFFERS
)
