"""Phi-3 and Phi-4 mini (arXiv 2404.14219): llama with fused projections."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.by_layer import equal_windows
from helix_jax.models.families.common import ROTARY_BUFFERS, Family, gated_parts
from helix_jax.models.families.layout import FUSED_FFN, LAYER, PRE_NORMS, gated_rules
from helix_jax.models.rules import QKV_ROWS, Rule, dense
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a phi3 config."""
    config = ConfigReader(raw)
    parts = gated_parts(config, raw, partial=True)
    for bias in ("attention_bias", "mlp_bias", "lm_head_bias"):
        config.expect(bias, False)
    for factor in ("full_attn_mod", "interpolate_factor"):  # Phi-4 mini names them
        config.expect(factor, 1)
    # transformers has copied it into rope_parameters if the type needs it.
    config.take("original_max_position_embeddings", None)
    config.expect_code("Phi3")
    spec = ModelSpec(**parts, windows=equal_windows(config))
    config.finish()
    return spec


_ATTENTION = (
    Rule(
        f"{LAYER}self_attn.qkv_proj.weight",
        ("layers/q/kernel", "layers/k/kernel", "layers/v/kernel"),
        QKV_ROWS,
    ),
    *dense(f"{LAYER}self_attn.o_proj", "layers/out"),
)
RULES = gated_rules(norms=PRE_NORMS, attention=_ATTENTION, ffn=FUSED_FFN)
FAMILY = Family("phi3", spec_from_hf, RULES, ignored=ROTARY_BUFFERS)
