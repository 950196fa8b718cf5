"""Granite 3 (IBM 2024) and HyperCLOVA X (arXiv 2404.01954): llama with four scales."""

from collections.abc import Mapping
from typing import Any

from helix_jax.errors import CheckpointError
from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import ROTARY_BUFFERS, Family, gated_parts
from helix_jax.models.families.layout import PRE_NORMS, gated_rules
from helix_jax.models.spec import ModelSpec


def _parts(config: ConfigReader, raw: Mapping[str, Any]) -> dict[str, Any]:
    bias = config.take("attention_bias", False)
    return gated_parts(config, raw) | {
        "qkv_bias": bias,
        "out_bias": bias,
        "embed_scale": float(config.take("embedding_multiplier")),
        "residual_scale": float(config.take("residual_multiplier")),
        "attention_scale": float(config.take("attention_multiplier")),
    }


def granite_parts(config: ConfigReader, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of granite except its feed-forward; logits_scaling divides the logits."""
    divisor = config.take("logits_scaling")
    if not divisor:
        raise CheckpointError(
            f"{config.family}: logits_scaling is {divisor}, but logits are divided by "
            "it; download config.json from the model's page again."
        )
    return _parts(config, raw) | {"logit_scale": 1.0 / divisor}


def granite_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a granite config."""
    config = ConfigReader(raw)
    bias = config.take("mlp_bias", False)
    spec = ModelSpec(**granite_parts(config, raw), ffn_bias=bias)
    config.finish()
    return spec


def hyperclovax_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a hyperclovax config; its logits are multiplied by logits_scaling."""
    config = ConfigReader(raw)
    spec = ModelSpec(
        **_parts(config, raw),
        ffn_bias=config.take("mlp_bias", False),
        block="sandwich" if config.take("use_post_norm") else "pre",
        logit_scale=float(config.take("logits_scaling")),
    )
    config.finish()
    return spec


GRANITE = Family(
    "granite", granite_from_hf, gated_rules(norms=PRE_NORMS), ignored=ROTARY_BUFFERS
)
HYPERCLOVAX = Family(
    "hyperclovax",
    hyperclovax_from_hf,
    gated_rules(
        norms=PRE_NORMS
        | {"post_norm1": "attention_post_norm", "post_norm2": "ffn_post_norm"}
    ),
    ignored=ROTARY_BUFFERS,
)
