"""EXAONE 4.0 (arXiv 2507.11407): only layers with a window rotate."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.by_layer import read_windows
from helix_jax.models.families.common import ROTARY_BUFFERS, Family, gated_parts
from helix_jax.models.families.layout import POST_NORMS, gated_rules
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of an exaone4 config; without sliding_window every layer rotates."""
    config = ConfigReader(raw)
    parts = gated_parts(config, raw)
    window = config.take("sliding_window", None)
    config.take("sliding_window_pattern", None)  # layer_types says the same
    windows = read_windows(config, parts["num_layers"], window)
    rotate = None
    if window is not None:
        rotate = tuple(map(bool, windows or (0,) * parts["num_layers"]))
    spec = ModelSpec(
        **parts, block="post", qk_norm="head", rope_layers=rotate, windows=windows
    )
    config.finish()
    return spec


FAMILY = Family(
    "exaone4", spec_from_hf, gated_rules(norms=POST_NORMS), ignored=ROTARY_BUFFERS
)
