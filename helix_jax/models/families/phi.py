"""Phi 1, 1.5 and 2 (arXiv 2306.11644, 2309.05463): parallel branches, one norm."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import (
    ROTARY_BUFFERS,
    Family,
    plain_parts,
    read_even_rope,
    read_groups,
)
from helix_jax.models.rules import KEEP, Rule, dense, norm
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a phi config. Its head has a bias."""
    config = ConfigReader(raw)
    parts = plain_parts(config, raw)
    config.expect("head_dim", parts["head_width"])  # its norms would not follow it
    spec = ModelSpec(
        **parts | {"num_kv_heads": read_groups(config, parts["num_heads"])},
        ffn_width=config.take("intermediate_size"),
        max_tokens=config.take("max_position_embeddings"),
        norm_epsilon=config.take("layer_norm_eps"),
        parallel=True,
        shared_norm=True,
        rope=read_even_rope(config, parts["head_width"]),
        qk_norm="head" if config.take("qk_layernorm", False) else None,
        qkv_bias=True,
        out_bias=True,
        ffn_bias=True,
        tied=bool(config.take("tie_word_embeddings", False)),
        head_bias=True,
    )
    config.finish()
    return spec


_LAYER = "model.layers.{}."
RULES = (
    Rule("model.embed_tokens.weight", ("embed",), KEEP),
    *dense(f"{_LAYER}self_attn.q_proj", "layers/q"),
    *dense(f"{_LAYER}self_attn.k_proj", "layers/k"),
    *dense(f"{_LAYER}self_attn.v_proj", "layers/v"),
    *norm(f"{_LAYER}self_attn.q_layernorm", "layers/q_norm"),
    *norm(f"{_LAYER}self_attn.k_layernorm", "layers/k_norm"),
    *dense(f"{_LAYER}self_attn.dense", "layers/out"),
    *dense(f"{_LAYER}mlp.fc1", "layers/up"),
    *dense(f"{_LAYER}mlp.fc2", "layers/down"),
    *norm(f"{_LAYER}input_layernorm", "layers/attention_norm"),
    *norm("model.final_layernorm", "final_norm"),
    *dense("lm_head", "head"),
)
FAMILY = Family("phi", spec_from_hf, RULES, ignored=ROTARY_BUFFERS)
