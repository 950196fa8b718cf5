"""Qwen3 (arXiv 2505.09388): llama with normed query and key heads."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.by_layer import switched_windows
from helix_jax.models.families.common import ROTARY_BUFFERS, Family, gated_parts
from helix_jax.models.families.layout import PRE_NORMS, gated_rules
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a qwen3 config."""
    config = ConfigReader(raw)
    bias = config.take("attention_bias", False)
    spec = ModelSpec(
        **gated_parts(config, raw),
        windows=switched_windows(config),
        qk_norm="head",
        qkv_bias=bias,
        out_bias=bias,
    )
    config.finish()
    return spec


FAMILY = Family(
    "qwen3", spec_from_hf, gated_rules(norms=PRE_NORMS), ignored=ROTARY_BUFFERS
)
