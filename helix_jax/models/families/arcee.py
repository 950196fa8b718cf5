"""Arcee (AFM, 2025) and Jais 2 (2025): llama without a gate, relu squared."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import ROTARY_BUFFERS, Family, gated_parts
from helix_jax.models.families.layout import PRE_NORMS, gated_rules
from helix_jax.models.spec import ModelSpec


def _spec(raw: Mapping[str, Any], epsilon: str, **norms: Any) -> ModelSpec:
    config = ConfigReader(raw)
    bias = config.take("attention_bias", False)
    spec = ModelSpec(
        **gated_parts(config, raw, epsilon=epsilon),
        **norms,
        gated=False,
        qkv_bias=bias,
        out_bias=bias,
        ffn_bias=config.take("mlp_bias", False),
    )
    config.finish()
    return spec


def arcee_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of an arcee config."""
    return _spec(raw, "rms_norm_eps")


def jais2_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a jais2 config: with layer norms."""
    return _spec(raw, "layer_norm_eps", norm="layer", norm_bias=True)


RULES = gated_rules(norms=PRE_NORMS)
ARCEE = Family("arcee", arcee_from_hf, RULES, ignored=ROTARY_BUFFERS)
JAIS2 = Family("jais2", jais2_from_hf, RULES, ignored=ROTARY_BUFFERS)
