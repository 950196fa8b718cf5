"""EuroBERT (arXiv 2503.05500): llama that attends in both directions."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import ROTARY_BUFFERS, Family, gated_parts
from helix_jax.models.families.layout import PRE_NORMS, gated_rules
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a eurobert config; its masked head is one dense layer."""
    config = ConfigReader(raw)
    config.expect("is_causal", False)
    config.expect_code("EuroBert")
    config.take("mask_token_id", None)
    config.take("classifier_pooling", None)
    parts = gated_parts(config, raw)
    if parts["head"] is not None:
        parts["head"] = "linear"
    attention, ffn = config.take("attention_bias"), config.take("mlp_bias")
    spec = ModelSpec(
        **parts,
        causal=False,
        qkv_bias=attention,
        out_bias=attention,
        ffn_bias=ffn,
        head_bias=ffn,
    )
    config.finish()
    return spec


FAMILY = Family(
    "eurobert",
    spec_from_hf,
    gated_rules(norms=PRE_NORMS),
    ignored=(r"dense\..*", *ROTARY_BUFFERS),  # a classifier's
    causal=False,
)
