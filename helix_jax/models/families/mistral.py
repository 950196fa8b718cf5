"""Mistral (Jiang et al. 2023, arXiv 2310.06825): llama with a sliding window."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import (
    PRE_NORMS,
    ROTARY_BUFFERS,
    Family,
    gated_rules,
    gated_sizes,
    read_activation,
    read_rope,
)
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a mistral config."""
    config = ConfigReader(raw)
    sizes = gated_sizes(config, raw)
    window = config.take("sliding_window", None)
    spec = ModelSpec(
        **sizes,
        activation=read_activation(config, "hidden_act"),
        rope=read_rope(config, sizes["head_width"]),
        attention_scale=sizes["head_width"] ** -0.5,
        windows=(window,) * sizes["num_layers"] if window else None,
    )
    config.finish()
    return spec


FAMILY = Family(
    "mistral", spec_from_hf, gated_rules(norms=PRE_NORMS), ignored=ROTARY_BUFFERS
)
