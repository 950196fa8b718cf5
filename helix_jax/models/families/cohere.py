"""Command R (Cohere 2024) and Command R7B, A (arXiv 2504.00698): parallel branches."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.by_layer import read_windows
from helix_jax.models.families.common import ROTARY_BUFFERS, Family, gated_parts
from helix_jax.models.families.layout import gated_rules
from helix_jax.models.spec import ModelSpec


def _shared(config: ConfigReader, raw: Mapping[str, Any]) -> dict[str, Any]:
    bias = config.take("attention_bias", False)
    parts = gated_parts(config, raw, epsilon="layer_norm_eps", interleaved=True)
    return parts | {
        "norm": "layer",
        "parallel": True,
        "shared_norm": True,
        "logit_scale": config.take("logit_scale"),
        "qkv_bias": bias,
        "out_bias": bias,
    }


def cohere_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a cohere config."""
    config = ConfigReader(raw)
    normed = config.take("use_qk_norm", False)
    spec = ModelSpec(**_shared(config, raw), qk_norm="heads" if normed else None)
    config.finish()
    return spec


def cohere2_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a cohere2 config: only layers with a window rotate."""
    config = ConfigReader(raw)
    shared = _shared(config, raw)
    # Older files give a pattern; transformers turns it into layer_types.
    config.take("sliding_window_pattern", None)
    windows = read_windows(
        config, shared["num_layers"], config.take("sliding_window", None)
    )
    rotate = tuple(map(bool, windows or (0,) * shared["num_layers"]))
    spec = ModelSpec(
        **shared, windows=windows, rope_layers=None if all(rotate) else rotate
    )
    config.finish()
    return spec


RULES = gated_rules(norms={"input_layernorm": "attention_norm"})
COHERE = Family("cohere", cohere_from_hf, RULES, ignored=ROTARY_BUFFERS)
COHERE2 = Family("cohere2", cohere2_from_hf, RULES, ignored=ROTARY_BUFFERS)
