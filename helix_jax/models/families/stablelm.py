"""StableLM 1 and 2 (Bellagente et al. 2024, arXiv 2402.17834)."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import (
    ROTARY_BUFFERS,
    Family,
    gated_sizes,
    read_activation,
    read_even_rope,
)
from helix_jax.models.families.layout import LAYER, PRE_NORMS, PROJECTIONS, gated_rules
from helix_jax.models.rules import KEEP, Rule
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a stablelm config: layer norms, a part of each head is rotated."""
    config = ConfigReader(raw)
    sizes = gated_sizes(config, raw, epsilon="layer_norm_eps")
    config.expect("head_dim", sizes["width"] // sizes["num_heads"])
    parallel = config.take("use_parallel_residual", False)
    spec = ModelSpec(
        **sizes,
        norm="layer",
        norm_bias=True,
        parallel=parallel,
        shared_norm=parallel,
        activation=read_activation(config, "hidden_act"),
        rope=read_even_rope(config, sizes["head_width"]),
        attention_scale=sizes["head_width"] ** -0.5,
        qk_norm="heads" if config.take("qk_layernorm", False) else None,
        qkv_bias=config.take("use_qkv_bias", False),
    )
    config.finish()
    return spec


# The norm of each query and key head has a name of its own.
_HEAD_NORMS = tuple(
    Rule(
        f"{LAYER}self_attn.{name}_layernorm.norms.{{}}.weight",
        (f"layers/{name}_norm/scale",),
        KEEP,
    )
    for name in ("q", "k")
)
FAMILY = Family(
    "stablelm",
    spec_from_hf,
    gated_rules(norms=PRE_NORMS, attention=(*PROJECTIONS, *_HEAD_NORMS)),
    ignored=ROTARY_BUFFERS,
)
