"""Qwen2-MoE (arXiv 2407.10671) and Qwen3-MoE (arXiv 2505.09388): qwen with experts."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.by_layer import equal_windows, switched_windows
from helix_jax.models.families.common import ROTARY_BUFFERS, Family, gated_parts
from helix_jax.models.families.layout import PRE_NORMS, gated_rules
from helix_jax.models.families.moe import expert_rules, read_experts
from helix_jax.models.rules import dense
from helix_jax.models.spec import ModelSpec


def _shared(config: ConfigReader, raw: Mapping[str, Any]) -> dict[str, Any]:
    parts = gated_parts(config, raw)
    # Layers without experts among layers with them would need another kind of block.
    config.expect("mlp_only_layers", [])
    config.expect("decoder_sparse_step", 1)
    return parts | {"ffn_width": config.take("moe_intermediate_size")}


def qwen2_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a qwen2_moe config: with an expert that every token goes through."""
    config = ConfigReader(raw)
    experts = read_experts(
        config,
        normalised=config.take("norm_topk_prob", False),
        shared_width=config.take("shared_expert_intermediate_size"),
        shared_gate=True,
    )
    spec = ModelSpec(
        **_shared(config, raw),
        experts=experts,
        windows=switched_windows(config),
        qkv_bias=config.take("qkv_bias", True),
    )
    config.finish()
    return spec


def qwen3_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a qwen3_moe config: normed heads; a window in all layers or none."""
    config = ConfigReader(raw)
    parts = _shared(config, raw)
    bias = config.take("attention_bias", False)
    windows = equal_windows(config)
    used = config.take("use_sliding_window", False)
    spec = ModelSpec(
        **parts,
        experts=read_experts(config, normalised=config.take("norm_topk_prob", False)),
        windows=windows if used else None,
        qk_norm="head",
        qkv_bias=bias,
        out_bias=bias,
    )
    config.finish()
    return spec


_MIXTURE = "model.layers.{}.mlp."
RULES = (
    *gated_rules(norms=PRE_NORMS),
    *expert_rules(_MIXTURE),
    *dense(f"{_MIXTURE}shared_expert.gate_proj", "layers/shared/gate"),
    *dense(f"{_MIXTURE}shared_expert.up_proj", "layers/shared/up"),
    *dense(f"{_MIXTURE}shared_expert.down_proj", "layers/shared/down"),
    *dense(f"{_MIXTURE}shared_expert_gate", "layers/shared_gate"),
)
QWEN2_MOE = Family("qwen2_moe", qwen2_from_hf, RULES, ignored=ROTARY_BUFFERS)
QWEN3_MOE = Family("qwen3_moe", qwen3_from_hf, RULES, ignored=ROTARY_BUFFERS)
