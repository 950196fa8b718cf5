"""GLM-4 (arXiv 2406.12793) and GLM-4-0414: half of each head rotates, in pairs."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import ROTARY_BUFFERS, Family, gated_parts
from helix_jax.models.families.layout import FUSED_FFN, PRE_NORMS, gated_rules
from helix_jax.models.spec import ModelSpec


def _spec(raw: Mapping[str, Any], block: str) -> ModelSpec:
    config = ConfigReader(raw)
    spec = ModelSpec(
        **gated_parts(config, raw, partial=True, interleaved=True),
        block=block,
        qkv_bias=config.take("attention_bias", False),
    )
    config.finish()
    return spec


def glm_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a glm config."""
    return _spec(raw, "pre")


def glm4_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a glm4 config: norms before and after each branch."""
    return _spec(raw, "sandwich")


GLM = Family(
    "glm",
    glm_from_hf,
    gated_rules(norms=PRE_NORMS, ffn=FUSED_FFN),
    ignored=ROTARY_BUFFERS,
)
GLM4 = Family(
    "glm4",
    glm4_from_hf,
    gated_rules(
        norms=PRE_NORMS
        | {
            "post_self_attn_layernorm": "attention_post_norm",
            "post_mlp_layernorm": "ffn_post_norm",
        },
        ffn=FUSED_FFN,
    ),
    ignored=ROTARY_BUFFERS,
)
