"""Granite 3 with experts (IBM 2024): granite with all experts in two tensors."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import ROTARY_BUFFERS, Family
from helix_jax.models.families.granite import granite_parts
from helix_jax.models.families.layout import PRE_NORMS, gated_rules
from helix_jax.models.families.moe import fused_expert_rules, read_experts
from helix_jax.models.rules import dense
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a granitemoe config."""
    config = ConfigReader(raw)
    spec = ModelSpec(**granite_parts(config, raw), experts=read_experts(config))
    config.finish()
    return spec


_MIXTURE = "model.layers.{}.block_sparse_moe."
FAMILY = Family(
    "granitemoe",
    spec_from_hf,
    (
        *gated_rules(norms=PRE_NORMS),
        *dense(f"{_MIXTURE}router.layer", "layers/router"),
        *fused_expert_rules(
            f"{_MIXTURE}input_linear.weight", f"{_MIXTURE}output_linear.weight"
        ),
    ),
    ignored=ROTARY_BUFFERS,
    # transformers' names in memory -> those in its files.
    renamed=(
        (r"\.experts\.gate_up_proj$", ".input_linear.weight"),
        (r"\.experts\.down_proj$", ".output_linear.weight"),
        (r"\.router\.weight$", ".router.layer.weight"),
    ),
)
