"""Helium 1 (Kyutai 2025): llama with interleaved rotation."""

from collections.abc import Mapping
from typing import Any

from helix_jax.errors import CheckpointError
from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import ROTARY_BUFFERS, Family, gated_parts
from helix_jax.models.families.layout import PRE_NORMS, gated_rules
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a helium config. Its heads together are as wide as the stream."""
    config = ConfigReader(raw)
    parts = gated_parts(config, raw, interleaved=True)
    heads, width = parts["num_heads"], parts["head_width"]
    if heads * width != parts["width"]:
        raise CheckpointError(
            f"helium: num_attention_heads {heads} of head_dim {width} do not make up "
            f"hidden_size {parts['width']}; download config.json from the model's page "
            "again."
        )
    spec = ModelSpec(
        **parts,
        qkv_bias=config.take("attention_bias", False),
        ffn_bias=config.take("mlp_bias", False),
    )
    config.finish()
    return spec


FAMILY = Family(
    "helium", spec_from_hf, gated_rules(norms=PRE_NORMS), ignored=ROTARY_BUFFERS
)
