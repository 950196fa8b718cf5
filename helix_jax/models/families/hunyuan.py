"""Hunyuan (Tencent 2025): llama whose heads are normed after their rotation; experts.

In the mixture every token goes through a shared feed-forward layer as well, which is as
wide as an expert.
"""

from collections.abc import Mapping
from typing import Any

from helix_jax.errors import CheckpointError, UnsupportedError
from helix_jax.models.config import ConfigReader, is_number
from helix_jax.models.families.common import ROTARY_BUFFERS, Family, gated_parts
from helix_jax.models.families.layout import LAYER, PRE_NORMS, PROJECTIONS, gated_rules
from helix_jax.models.families.moe import expert_rules, read_experts
from helix_jax.models.rules import dense, norm
from helix_jax.models.spec import ModelSpec


def dense_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a hunyuan_v1_dense config."""
    config = ConfigReader({**raw, "rope_parameters": _rope(raw)})
    spec = ModelSpec(**_parts(config, raw))
    config.finish()
    return spec


def moe_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of hunyuan_v1_moe; all layers use equally many experts per token."""
    chosen = raw.get("moe_topk")
    if isinstance(chosen, list) and len(set(chosen)) == 1:
        chosen = chosen[0]
    if type(chosen) is not int:
        raise UnsupportedError(
            f"hunyuan_v1_moe: config attribute 'moe_topk' is {chosen!r}; supported is "
            "one number for all layers."
        )
    own = {"rope_parameters": _rope(raw), "num_experts_per_tok": chosen}
    config = ConfigReader({**raw, **own})
    config.expect_code("HunYuan(MoEV1)?")
    config.take("moe_topk")
    config.take("sep_token_id", None)  # the tokenizer's
    parts = _parts(config, raw)
    experts = read_experts(config, shared_width=parts["ffn_width"])
    spec = ModelSpec(**parts, experts=experts)
    config.finish()
    return spec


def _parts(config: ConfigReader, raw: Mapping[str, Any]) -> dict[str, Any]:
    bias = config.take("attention_bias", False)
    norms = {"qk_norm": "head", "qk_norm_last": True}
    return gated_parts(config, raw) | norms | {"qkv_bias": bias, "out_bias": bias}


def _rope(raw: Mapping[str, Any]) -> dict[str, Any]:
    """rope_parameters, with the alpha of type dynamic moved into the base.

    With alpha, the base is theta alpha^(d / (d - 2)), and the only other setting that
    is read is partial_rotary_factor.
    """
    given = dict(raw.get("rope_parameters") or {})
    alpha, theta = given.get("alpha"), given.get("rope_theta")
    width = raw.get("head_dim")
    if given.get("rope_type") != "dynamic" or not alpha:
        return given
    if not (
        is_number(alpha)
        and is_number(theta)
        and is_number(width)
        and alpha > 0
        and width > 2
    ):
        raise CheckpointError(
            f"{raw['model_type']}: rope_parameters of type dynamic with alpha "
            f"{alpha!r} need a positive alpha, a numeric rope_theta and heads of more "
            f"than two features (head_dim); got {given} and head_dim {width!r}."
        )
    base = theta * alpha ** (width / (width - 2))
    part = {"partial_rotary_factor": given.get("partial_rotary_factor")}
    return {"rope_type": "default", "rope_theta": base} | part


_NORMS = (
    *norm(f"{LAYER}self_attn.query_layernorm", "layers/q_norm"),
    *norm(f"{LAYER}self_attn.key_layernorm", "layers/k_norm"),
)
RULES = gated_rules(norms=PRE_NORMS, attention=(*PROJECTIONS, *_NORMS))
_MIXTURE = f"{LAYER}mlp."
DENSE = Family("hunyuan_v1_dense", dense_from_hf, RULES, ignored=ROTARY_BUFFERS)
MOE = Family(
    "hunyuan_v1_moe",
    moe_from_hf,
    (
        *RULES,
        *expert_rules(_MIXTURE, router="gate.wg"),
        *dense(f"{_MIXTURE}shared_mlp.gate_proj", "layers/shared/gate"),
        *dense(f"{_MIXTURE}shared_mlp.up_proj", "layers/shared/up"),
        *dense(f"{_MIXTURE}shared_mlp.down_proj", "layers/shared/down"),
    ),
    ignored=ROTARY_BUFFERS,
)
