"""SmolLM3 (Hugging Face 2025) and CWM (arXiv 2510.02387): llama with unlike layers."""

from collections.abc import Mapping
from typing import Any

from helix_jax.errors import CheckpointError
from helix_jax.models.config import ConfigReader
from helix_jax.models.families.by_layer import read_windows
from helix_jax.models.families.common import ROTARY_BUFFERS, Family, gated_parts
from helix_jax.models.families.layout import PRE_NORMS, gated_rules
from helix_jax.models.spec import ModelSpec


def smollm3_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a smollm3 config: every fourth layer does not rotate."""
    config = ConfigReader(raw)
    parts = gated_parts(config, raw)
    bias = config.take("attention_bias", False)
    rotate = config.take("no_rope_layers")  # despite its name, 1 for layers that do
    if len(rotate) != parts["num_layers"]:
        raise CheckpointError(
            f"smollm3: no_rope_layers must be 0 or 1 for each of {parts['num_layers']} "
            f"layers, got {rotate}."
        )
    # Both are in layer_types and no_rope_layers, layer by layer.
    config.take("no_rope_layer_interval", None)
    config.take("use_sliding_window", None)
    window = config.take("sliding_window", None)
    spec = ModelSpec(
        **parts,
        rope_layers=None if all(rotate) else tuple(map(bool, rotate)),
        windows=read_windows(config, parts["num_layers"], window),
        qkv_bias=bias,
        out_bias=bias,
        ffn_bias=config.take("mlp_bias", False),
    )
    config.finish()
    return spec


def cwm_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a cwm config: most layers have a window."""
    config = ConfigReader(raw)
    parts = gated_parts(config, raw)
    window = config.take("sliding_window", None)
    spec = ModelSpec(
        **parts,
        windows=read_windows(config, parts["num_layers"], window),
        ffn_bias=config.take("mlp_bias", False),
    )
    config.finish()
    return spec


RULES = gated_rules(norms=PRE_NORMS)
SMOLLM3 = Family("smollm3", smollm3_from_hf, RULES, ignored=ROTARY_BUFFERS)
CWM = Family("cwm", cwm_from_hf, RULES, ignored=ROTARY_BUFFERS)
