"""Mistral (arXiv 2310.06825) and the Ministral models: llama with sliding windows."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from helix_jax.errors import CheckpointError
from helix_jax.models.config import ConfigReader, is_number
from helix_jax.models.families.by_layer import equal_windows, read_windows
from helix_jax.models.families.common import ROTARY_BUFFERS, Family, gated_parts
from helix_jax.models.families.layout import PRE_NORMS, gated_rules
from helix_jax.models.spec import ModelSpec


def mistral_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a mistral config."""
    config = ConfigReader(raw)
    config.expect("attention_bias", False)
    spec = ModelSpec(**gated_parts(config, raw), windows=equal_windows(config))
    config.finish()
    return spec


def ministral_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a ministral config: some layers have the window."""
    config = ConfigReader(raw)
    parts = gated_parts(config, raw)
    window = config.take("sliding_window", None)
    windows = read_windows(config, parts["num_layers"], window)
    spec = ModelSpec(**parts, windows=windows)
    config.finish()
    return spec


def ministral3_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a ministral3 config: queries grow with their position (llama 4)."""
    rope = dict(raw.get("rope_parameters") or {})
    beta = rope.pop("llama_4_scaling_beta", None)
    rope.pop("max_position_embeddings", None)  # yarn reads the one outside
    period = rope.get("original_max_position_embeddings")
    if not (is_number(beta) and is_number(period) and period > 0):
        raise CheckpointError(
            "ministral3: rope_parameters must have numbers llama_4_scaling_beta and "
            "original_max_position_embeddings, by which its queries grow with their "
            f"position; got {raw.get('rope_parameters')}."
        )
    config = ConfigReader({**raw, "rope_parameters": rope})
    parts = gated_parts(config, raw)
    growth = float(beta), float(period)
    parts["rope"] = dataclasses.replace(parts["rope"], query_growth=growth)
    spec = ModelSpec(**parts, windows=equal_windows(config))
    config.finish()
    return spec


RULES = gated_rules(norms=PRE_NORMS)
MISTRAL = Family("mistral", mistral_from_hf, RULES, ignored=ROTARY_BUFFERS)
MINISTRAL = Family("ministral", ministral_from_hf, RULES, ignored=ROTARY_BUFFERS)
MINISTRAL3 = Family("ministral3", ministral3_from_hf, RULES, ignored=ROTARY_BUFFERS)
