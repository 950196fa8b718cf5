"""GPT (Radford et al. 2018): gpt2 with a norm after each residual."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import OTHER_HEADS, Family
from helix_jax.models.families.gpt_layout import QKV, gpt_parts
from helix_jax.models.rules import KEEP, QKV_COLUMNS, Rule, dense, fused_dense, norm
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of an openai-gpt config. Its "gelu" is the approximate one."""
    config = ConfigReader(raw)
    parts = gpt_parts(config, raw, activation="afn")
    config.expect("afn", "gelu", "relu", "silu", "swish")
    if parts["activation"] == "gelu":
        parts["activation"] = "gelu_tanh"
    spec = ModelSpec(
        **parts,
        num_positions=parts["max_tokens"],
        block="post_residual",
        qkv_bias=True,
        out_bias=True,
        ffn_bias=True,
        final_norm=False,
    )
    config.finish()
    return spec


_LAYER = "transformer.h.{}."
RULES = (
    Rule("transformer.tokens_embed.weight", ("embed",), KEEP),
    Rule("transformer.positions_embed.weight", ("positions",), KEEP),
    *fused_dense(f"{_LAYER}attn.c_attn", QKV, QKV_COLUMNS, QKV_COLUMNS),
    *dense(f"{_LAYER}attn.c_proj", "layers/out", KEEP),
    *dense(f"{_LAYER}mlp.c_fc", "layers/up", KEEP),
    *dense(f"{_LAYER}mlp.c_proj", "layers/down", KEEP),
    *norm(f"{_LAYER}ln_1", "layers/attention_norm"),
    *norm(f"{_LAYER}ln_2", "layers/ffn_norm"),
    *dense("lm_head", "head"),
)
FAMILY = Family(
    "openai-gpt",
    spec_from_hf,
    RULES,
    prefix="transformer.",
    ignored=(r".*\.attn\.bias", r"transformer\.position_ids", *OTHER_HEADS),
)
