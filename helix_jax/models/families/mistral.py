"""Mistral (Jiang et al. 2023, arXiv 2310.06825): llama with a sliding window."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import (
    PRE_NORMS,
    ROTARY_BUFFERS,
    Family,
    gated_parts,
    gated_rules,
)
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a mistral config."""
    config = ConfigReader(raw)
    parts = gated_parts(config, raw)
    config.expect("attention_bias", False)
    window = config.take("sliding_window", None)
    spec = ModelSpec(
        **parts, windows=(window,) * parts["num_layers"] if window else None
    )
    config.finish()
    return spec


FAMILY = Family(
    "mistral", spec_from_hf, gated_rules(norms=PRE_NORMS), ignored=ROTARY_BUFFERS
)
