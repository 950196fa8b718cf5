"""GPT-2 (Radford et al. 2019)."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import OTHER_HEADS, Family
from helix_jax.models.families.gpt_layout import gpt_parts, gpt_rules
from helix_jax.models.rules import KEEP, QKV_COLUMNS
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a gpt2 config."""
    config = ConfigReader(raw)
    parts = gpt_parts(config, raw)
    config.expect("scale_attn_by_inverse_layer_idx", False)
    config.expect("reorder_and_upcast_attn", False)
    config.take("n_ctx", None)  # older files repeat n_positions under this name
    if not config.take("scale_attn_weights", True):
        parts["attention_scale"] = 1.0
    spec = ModelSpec(
        **parts,
        num_positions=parts["max_tokens"],
        qkv_bias=True,
        out_bias=True,
        ffn_bias=True,
    )
    config.finish()
    return spec


FAMILY = Family(
    "gpt2",
    spec_from_hf,
    gpt_rules(QKV_COLUMNS, KEEP),
    prefix="transformer.",
    ignored=(r".*\.attn\.(bias|masked_bias)", *OTHER_HEADS),
)
