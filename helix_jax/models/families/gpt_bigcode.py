"""GPTBigCode: SantaCoder and StarCoder (arXiv 2301.03988, 2305.06161)."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import OTHER_HEADS, Family
from helix_jax.models.families.gpt_layout import gpt_parts, gpt_rules
from helix_jax.models.rules import QKV_BY_GROUP
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a gpt_bigcode config: gpt2 whose heads share one key and value."""
    config = ConfigReader(raw)
    parts = gpt_parts(config, raw)
    if config.take("multi_query", True):
        parts["num_kv_heads"] = 1
    if not config.take("scale_attn_weights", True):
        parts["attention_scale"] = 1.0
    config.take("num_key_value_heads", None)  # says the same as multi_query
    config.expect("add_cross_attention", False)
    # The softmax is in float32 whatever they say.
    config.take("attention_softmax_in_fp32", None)
    config.take("scale_attention_softmax_in_fp32", None)
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
    "gpt_bigcode",
    spec_from_hf,
    gpt_rules(QKV_BY_GROUP),
    prefix="transformer.",
    ignored=(r".*\.attn\.(bias|masked_bias)", r"transformer\.bias", *OTHER_HEADS),
)
