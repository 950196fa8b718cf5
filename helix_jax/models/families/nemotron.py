"""Nemotron 3 and 4, Minitron (arXiv 2402.16819, 2407.14679): squared relu, no gate."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import ROTARY_BUFFERS, Family, gated_parts
from helix_jax.models.families.layout import PRE_NORMS, gated_rules
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a nemotron config: layer norms that scale by 1 + weight."""
    config = ConfigReader(raw)
    bias = config.take("attention_bias", False)
    spec = ModelSpec(
        **gated_parts(config, raw, epsilon="norm_eps", partial=True),
        norm="layer",
        norm_bias=True,
        norm_unit_offset=True,
        gated=False,
        qkv_bias=bias,
        out_bias=bias,
        ffn_bias=config.take("mlp_bias", False),
    )
    config.finish()
    return spec


FAMILY = Family(
    "nemotron", spec_from_hf, gated_rules(norms=PRE_NORMS), ignored=ROTARY_BUFFERS
)
