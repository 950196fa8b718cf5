"""Qwen2 and Qwen2.5 (arXiv 2407.10671): llama with biased queries, keys, values."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.by_layer import switched_windows
from helix_jax.models.families.common import ROTARY_BUFFERS, Family, gated_parts
from helix_jax.models.families.layout import PRE_NORMS, gated_rules
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a qwen2 config."""
    config = ConfigReader(raw)
    config.expect("use_mrope", False)  # Qwen2.5 names it
    spec = ModelSpec(
        **gated_parts(config, raw), windows=switched_windows(config), qkv_bias=True
    )
    config.finish()
    return spec


FAMILY = Family(
    "qwen2", spec_from_hf, gated_rules(norms=PRE_NORMS), ignored=ROTARY_BUFFERS
)
