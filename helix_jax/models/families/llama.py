"""Llama 1 to 3 (arXiv 2302.13971, 2307.09288, 2407.21783)."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import (
    PRE_NORMS,
    ROTARY_BUFFERS,
    Family,
    gated_parts,
    gated_rules,
)
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a llama config."""
    config = ConfigReader(raw)
    bias = config.take("attention_bias", False)
    config.expect("rope_interleaved", False)  # SmolLM names it
    spec = ModelSpec(
        **gated_parts(config, raw),
        qkv_bias=bias,
        out_bias=bias,
        ffn_bias=config.take("mlp_bias", False),
    )
    config.finish()
    return spec


FAMILY = Family(
    "llama", spec_from_hf, gated_rules(norms=PRE_NORMS), ignored=ROTARY_BUFFERS
)
