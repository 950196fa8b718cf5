"""Seed-OSS (ByteDance 2025): llama whose biases have a switch each."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import ROTARY_BUFFERS, Family, gated_parts
from helix_jax.models.families.layout import PRE_NORMS, gated_rules
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a seed_oss config."""
    config = ConfigReader(raw)
    spec = ModelSpec(
        **gated_parts(config, raw),
        qkv_bias=config.take("attention_bias", False),
        out_bias=config.take("attention_out_bias", False),
        ffn_bias=config.take("mlp_bias", False),
    )
    config.finish()
    return spec


FAMILY = Family(
    "seed_oss", spec_from_hf, gated_rules(norms=PRE_NORMS), ignored=ROTARY_BUFFERS
)
