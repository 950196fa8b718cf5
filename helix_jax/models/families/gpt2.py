"""GPT-2 (Radford et al. 2019)."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import (
    OTHER_HEADS,
    Family,
    read_activation,
    read_head,
)
from helix_jax.models.rules import (
    KEEP,
    QKV_COLUMNS,
    Rule,
    dense,
    fused_dense,
    norm,
)
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a gpt2 config."""
    config = ConfigReader(raw)
    width, heads = config.take("n_embd"), config.take("n_head")
    config.expect("scale_attn_by_inverse_layer_idx", False)
    config.expect("reorder_and_upcast_attn", False)
    config.take("n_ctx", None)  # older files repeat n_positions under this name
    scaled = config.take("scale_attn_weights", True)
    spec = ModelSpec(
        family=config.family,
        vocab_size=config.take("vocab_size"),
        width=width,
        num_layers=config.take("n_layer"),
        num_heads=heads,
        num_kv_heads=heads,
        head_width=width // heads,
        ffn_width=config.take("n_inner", 4 * width),
        max_tokens=config.take("n_positions"),
        num_positions=config.take("n_positions"),
        norm="layer",
        norm_bias=True,
        norm_epsilon=config.take("layer_norm_epsilon"),
        activation=read_activation(config, "activation_function"),
        gated=False,
        attention_scale=(width // heads) ** -0.5 if scaled else 1.0,
        qkv_bias=True,
        out_bias=True,
        ffn_bias=True,
        head=read_head(raw),
        tied=bool(config.take("tie_word_embeddings", True)),
    )
    config.finish()
    return spec


_LAYER = "transformer.h.{}."
_QKV = ("layers/q", "layers/k", "layers/v")
RULES = (
    Rule("transformer.wte.weight", ("embed",), KEEP),
    Rule("transformer.wpe.weight", ("positions",), KEEP),
    *fused_dense(f"{_LAYER}attn.c_attn", _QKV, QKV_COLUMNS, QKV_COLUMNS),
    *dense(f"{_LAYER}attn.c_proj", "layers/out", KEEP),
    *dense(f"{_LAYER}mlp.c_fc", "layers/up", KEEP),
    *dense(f"{_LAYER}mlp.c_proj", "layers/down", KEEP),
    *norm(f"{_LAYER}ln_1", "layers/attention_norm"),
    *norm(f"{_LAYER}ln_2", "layers/ffn_norm"),
    *norm("transformer.ln_f", "final_norm"),
    *dense("lm_head", "head"),
)
FAMILY = Family(
    "gpt2",
    spec_from_hf,
    RULES,
    prefix="transformer.",
    ignored=(r".*\.attn\.(bias|masked_bias)", *OTHER_HEADS),
)
