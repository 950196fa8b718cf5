"""OLMoE (Muennighoff et al. 2024, arXiv 2409.02060): small experts, normed queries."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import ROTARY_BUFFERS, Family, gated_parts
from helix_jax.models.families.layout import PRE_NORMS, gated_rules
from helix_jax.models.families.moe import expert_rules, read_experts
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of an olmoe config."""
    config = ConfigReader(raw)
    bias = config.take("attention_bias", False)
    spec = ModelSpec(
        **gated_parts(config, raw),
        experts=read_experts(config, normalised=config.take("norm_topk_prob", False)),
        qk_norm="full",
        qkv_clip=config.take("clip_qkv", None),
        qkv_bias=bias,
        out_bias=bias,
    )
    config.finish()
    return spec


FAMILY = Family(
    "olmoe",
    spec_from_hf,
    (*gated_rules(norms=PRE_NORMS), *expert_rules("model.layers.{}.mlp.")),
    ignored=ROTARY_BUFFERS,
)
