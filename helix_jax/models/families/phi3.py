"""Phi-3 and Phi-4 mini (arXiv 2404.14219): llama with fused projections."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.convert import GATE_UP_ROWS, KEEP, QKV_ROWS, Rule, dense, norm
from helix_jax.models.families.common import (
    PRE_NORMS,
    ROTARY_BUFFERS,
    Family,
    gated_sizes,
    read_activation,
    read_windows,
)
from helix_jax.models.rope import rope_from_hf
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a phi3 config."""
    config = ConfigReader(raw)
    sizes = gated_sizes(config, raw)
    original = config.take("original_max_position_embeddings", sizes["max_tokens"])
    rope = {"original_max_position_embeddings": original}
    window = config.take("sliding_window", None)
    partial = config.take("partial_rotary_factor", 1.0)
    rope = {"partial_rotary_factor": partial} | rope | config.take("rope_parameters")
    spec = ModelSpec(
        **sizes,
        activation=read_activation(config, "hidden_act"),
        rope=rope_from_hf(
            rope, head_width=sizes["head_width"], max_tokens=sizes["max_tokens"]
        ),
        attention_scale=sizes["head_width"] ** -0.5,
        windows=read_windows(config, sizes["num_layers"], window),
    )
    config.finish()
    return spec


_LAYER = "model.layers.{}."
RULES = (
    Rule("model.embed_tokens.weight", ("embed",), KEEP),
    Rule(
        f"{_LAYER}self_attn.qkv_proj.weight",
        ("layers/q/kernel", "layers/k/kernel", "layers/v/kernel"),
        QKV_ROWS,
    ),
    *dense(f"{_LAYER}self_attn.o_proj", "layers/out"),
    Rule(
        f"{_LAYER}mlp.gate_up_proj.weight",
        ("layers/gate/kernel", "layers/up/kernel"),
        GATE_UP_ROWS,
    ),
    *dense(f"{_LAYER}mlp.down_proj", "layers/down"),
    *(r for k, v in PRE_NORMS.items() for r in norm(f"{_LAYER}{k}", f"layers/{v}")),
    *norm("model.norm", "final_norm"),
    *dense("lm_head", "head"),
)
FAMILY = Family("phi3", spec_from_hf, RULES, ignored=ROTARY_BUFFERS)
