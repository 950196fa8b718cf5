"""GPT-NeoX and Pythia (arXiv 2204.06745, 2304.01373): parallel branches."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import (
    ROTARY_BUFFERS,
    Family,
    plain_parts,
    read_rope,
)
from helix_jax.models.families.gpt_layout import QKV
from helix_jax.models.rules import KEEP, QKV_BY_GROUP, Rule, dense, fused_dense, norm
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a gpt_neox config."""
    config = ConfigReader(raw)
    parts = plain_parts(config, raw)
    bias = config.take("attention_bias", True)
    config.expect("head_dim", parts["head_width"])  # only its rotation would read it
    spec = ModelSpec(
        **parts,
        ffn_width=config.take("intermediate_size"),
        max_tokens=config.take("max_position_embeddings"),
        norm_epsilon=config.take("layer_norm_eps"),
        parallel=config.take("use_parallel_residual", True),
        rope=read_rope(config, parts["head_width"], partial=True),
        qkv_bias=bias,
        out_bias=bias,
        ffn_bias=True,
        tied=bool(config.take("tie_word_embeddings", False)),
    )
    config.finish()
    return spec


_LAYER = "gpt_neox.layers.{}."
RULES = (
    Rule("gpt_neox.embed_in.weight", ("embed",), KEEP),
    *fused_dense(f"{_LAYER}attention.query_key_value", QKV, QKV_BY_GROUP, QKV_BY_GROUP),
    *dense(f"{_LAYER}attention.dense", "layers/out"),
    *dense(f"{_LAYER}mlp.dense_h_to_4h", "layers/up"),
    *dense(f"{_LAYER}mlp.dense_4h_to_h", "layers/down"),
    *norm(f"{_LAYER}input_layernorm", "layers/attention_norm"),
    *norm(f"{_LAYER}post_attention_layernorm", "layers/ffn_norm"),
    *norm("gpt_neox.final_layer_norm", "final_norm"),
    *dense("embed_out", "head"),
)
FAMILY = Family(
    "gpt_neox",
    spec_from_hf,
    RULES,
    prefix="gpt_neox.",
    ignored=(*ROTARY_BUFFERS, r".*\.attention\.(bias|masked_bias)"),
    # transformers' name of the head in memory -> the one in its files.
    renamed=((r"^lm_head\.", "embed_out."),),
)
