"""Persimmon (Elsen et al. 2023): squared relu, normed queries and keys."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import (
    ROTARY_BUFFERS,
    Family,
    plain_parts,
    read_even_rope,
)
from helix_jax.models.families.gpt_layout import QKV
from helix_jax.models.rules import KEEP, QKV_BY_GROUP, Rule, dense, fused_dense, norm
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a persimmon config."""
    config = ConfigReader(raw)
    parts = plain_parts(config, raw)
    config.expect("head_dim", parts["head_width"])  # only its rotation would read it
    spec = ModelSpec(
        **parts,
        ffn_width=config.take("intermediate_size"),
        max_tokens=config.take("max_position_embeddings"),
        norm_epsilon=config.take("layer_norm_eps"),
        rope=read_even_rope(config, parts["head_width"]),
        qk_norm="head" if config.take("qk_layernorm", True) else None,
        qkv_bias=True,
        out_bias=True,
        ffn_bias=True,
        tied=bool(config.take("tie_word_embeddings", False)),
    )
    config.finish()
    return spec


_LAYER = "model.layers.{}."
RULES = (
    Rule("model.embed_tokens.weight", ("embed",), KEEP),
    *fused_dense(f"{_LAYER}self_attn.query_key_value", QKV, QKV_BY_GROUP, QKV_BY_GROUP),
    *norm(f"{_LAYER}self_attn.q_layernorm", "layers/q_norm"),
    *norm(f"{_LAYER}self_attn.k_layernorm", "layers/k_norm"),
    *dense(f"{_LAYER}self_attn.dense", "layers/out"),
    *dense(f"{_LAYER}mlp.dense_h_to_4h", "layers/up"),
    *dense(f"{_LAYER}mlp.dense_4h_to_h", "layers/down"),
    *norm(f"{_LAYER}input_layernorm", "layers/attention_norm"),
    *norm(f"{_LAYER}post_attention_layernorm", "layers/ffn_norm"),
    *norm("model.final_layernorm", "final_norm"),
    *dense("lm_head", "head"),
)
FAMILY = Family("persimmon", spec_from_hf, RULES, ignored=ROTARY_BUFFERS)
