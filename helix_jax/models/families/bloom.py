"""Bloom (arXiv 2211.05100): biases by distance instead of positions."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.alibi_slopes import alibi_slopes
from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import OTHER_HEADS, Family, plain_parts
from helix_jax.models.families.gpt_layout import QKV
from helix_jax.models.rules import KEEP, QKV_BY_GROUP, Rule, dense, fused_dense, norm
from helix_jax.models.spec import AlibiSpec, ModelSpec

CONTEXT = 2048  # tokens in training; no attribute says so


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a bloom config."""
    config = ConfigReader(raw)
    parts = plain_parts(config, raw, layers="n_layer", heads="n_head", activation=None)
    config.take("n_embed", None)  # the name of hidden_size in older files
    config.expect("apply_residual_connection_post_layernorm", False)
    config.expect("slow_but_exact", False)
    spec = ModelSpec(
        **parts,
        activation="gelu_tanh",
        ffn_width=4 * parts["width"],
        max_tokens=CONTEXT,
        norm_epsilon=config.take("layer_norm_epsilon"),
        alibi=AlibiSpec(alibi_slopes(parts["num_heads"])),
        embed_norm=True,
        qkv_bias=True,
        out_bias=True,
        ffn_bias=True,
        tied=bool(config.take("tie_word_embeddings", True)),
    )
    config.finish()
    return spec


_LAYER = "transformer.h.{}."
RULES = (
    Rule("transformer.word_embeddings.weight", ("embed",), KEEP),
    *norm("transformer.word_embeddings_layernorm", "embed_norm"),
    *fused_dense(
        f"{_LAYER}self_attention.query_key_value", QKV, QKV_BY_GROUP, QKV_BY_GROUP
    ),
    *dense(f"{_LAYER}self_attention.dense", "layers/out"),
    *dense(f"{_LAYER}mlp.dense_h_to_4h", "layers/up"),
    *dense(f"{_LAYER}mlp.dense_4h_to_h", "layers/down"),
    *norm(f"{_LAYER}input_layernorm", "layers/attention_norm"),
    *norm(f"{_LAYER}post_attention_layernorm", "layers/ffn_norm"),
    *norm("transformer.ln_f", "final_norm"),
    *dense("lm_head", "head"),
)
FAMILY = Family(
    "bloom", spec_from_hf, RULES, prefix="transformer.", ignored=OTHER_HEADS
)
