"""OLMo 2 (arXiv 2501.00656): norms after each branch, normed queries and keys."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import (
    ROTARY_BUFFERS,
    Family,
    gated_parts,
    gated_rules,
)
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of an olmo2 config."""
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


FAMILY = Family(
    "olmo2",
    spec_from_hf,
    gated_rules(
        norms={
            "post_attention_layernorm": "attention_post_norm",
            "post_feedforward_layernorm": "ffn_post_norm",
        }
    ),
    ignored=ROTARY_BUFFERS,
)
