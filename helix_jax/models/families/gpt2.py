"""GPT-2 (Radford et al. 2019)."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import OTHER_HEADS, Family, plain_parts
from helix_jax.models.rules import KEEP, QKV_COLUMNS, Rule, dense, fused_dense, norm
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a gpt2 config."""
    config = ConfigReader(raw)
    parts = plain_parts(
        config,
        raw,
        width="n_embd",
        layers="n_layer",
        heads="n_head",
        activation="activation_function",
    )
    config.expect("scale_attn_by_inverse_layer_idx", False)
    config.expect("reorder_and_upcast_attn", False)
    config.take("n_ctx", None)  # older files repeat n_positions under this name
    if not config.take("scale_attn_weights", True):
        parts["attention_scale"] = 1.0
    spec = ModelSpec(
        **parts,
        ffn_width=config.take("n_inner", 4 * parts["width"]),
        max_tokens=config.take("n_positions"),
        num_positions=config.take("n_positions"),
        norm_epsilon=config.take("layer_norm_epsilon"),
        qkv_bias=True,
        out_bias=True,
        ffn_bias=True,
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
