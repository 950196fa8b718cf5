"""Mixtral (Jiang et al. 2024, arXiv 2401.04088): mistral, eight experts per layer."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.by_layer import equal_windows
from helix_jax.models.families.common import ROTARY_BUFFERS, Family, gated_parts
from helix_jax.models.families.layout import PRE_NORMS, gated_rules
from helix_jax.models.families.moe import expert_rules, read_experts
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a mixtral config."""
    config = ConfigReader(raw)
    config.take("router_jitter_noise", None)  # only in training
    spec = ModelSpec(
        **gated_parts(config, raw),
        experts=read_experts(config),
        windows=equal_windows(config),
    )
    config.finish()
    return spec


FAMILY = Family(
    "mixtral",
    spec_from_hf,
    (
        *gated_rules(norms=PRE_NORMS),
        *expert_rules(
            "model.layers.{}.block_sparse_moe.",
            gate="experts.{}.w1.weight",
            up="experts.{}.w3.weight",
            down="experts.{}.w2.weight",
        ),
    ),
    ignored=ROTARY_BUFFERS,
    renamed=((r"\.mlp\.", ".block_sparse_moe."),),
)
