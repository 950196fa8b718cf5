"""ERNIE 4.5 (Baidu 2025), the dense models: llama with interleaved rotation."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import ROTARY_BUFFERS, Family, gated_parts
from helix_jax.models.families.layout import PRE_NORMS, gated_rules
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of an ernie4_5 config."""
    config = ConfigReader(raw)
    bias = config.take("use_bias", False)
    spec = ModelSpec(
        **gated_parts(config, raw, interleaved=True),
        qkv_bias=bias,
        out_bias=bias,
        ffn_bias=bias,
    )
    config.finish()
    return spec


FAMILY = Family(
    "ernie4_5", spec_from_hf, gated_rules(norms=PRE_NORMS), ignored=ROTARY_BUFFERS
)
