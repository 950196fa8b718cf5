"""GPT-NeoX and Pythia (arXiv 2204.06745, 2304.01373): parallel branches."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import (
    ROTARY_BUFFERS,
    Family,
    read_activation,
    read_head,
    read_rope,
)
from helix_jax.models.rules import (
    KEEP,
    QKV_BY_HEAD,
    Rule,
    dense,
    fused_dense,
    norm,
)
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a gpt_neox config."""
    config = ConfigReader(raw)
    width, heads = config.take("hidden_size"), config.take("num_attention_heads")
    bias = config.take("attention_bias", True)
    spec = ModelSpec(
        family=config.family,
        vocab_size=config.take("vocab_size"),
        width=width,
        num_layers=config.take("num_hidden_layers"),
        num_heads=heads,
        num_kv_heads=heads,
        head_width=width // heads,
        ffn_width=config.take("intermediate_size"),
        max_tokens=config.take("max_position_embeddings"),
        norm="layer",
        norm_bias=True,
        norm_epsilon=config.take("layer_norm_eps"),
        parallel=config.take("use_parallel_residual", True),
        activation=read_activation(config, "hidden_act"),
        gated=False,
        rope=read_rope(config, width // heads, partial=True),
        attention_scale=(width // heads) ** -0.5,
        qkv_bias=bias,
        out_bias=bias,
        ffn_bias=True,
        head=read_head(raw),
        tied=bool(config.take("tie_word_embeddings", False)),
    )
    config.finish()
    return spec


_LAYER = "gpt_neox.layers.{}."
_QKV = ("layers/q", "layers/k", "layers/v")
RULES = (
    Rule("gpt_neox.embed_in.weight", ("embed",), KEEP),
    *fused_dense(f"{_LAYER}attention.query_key_value", _QKV, QKV_BY_HEAD, QKV_BY_HEAD),
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
    # transformers' name of the head in memory, against the one in its files.
    renamed=((r"^lm_head\.", "embed_out."),),
)
