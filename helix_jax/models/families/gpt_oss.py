"""gpt-oss (OpenAI 2025, arXiv 2508.10925): biased, clamped experts, attention sinks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.by_layer import read_windows
from helix_jax.models.families.common import (
    ROTARY_BUFFERS,
    Family,
    gated_sizes,
    read_rope,
)
from helix_jax.models.families.layout import PRE_NORMS, gated_rules
from helix_jax.models.families.moe import read_experts
from helix_jax.models.rules import KEEP, Codec, Rule, dense
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a gpt_oss config."""
    config = ConfigReader(raw)
    sizes = gated_sizes(config, raw)
    bias = config.take("attention_bias", True)
    config.take("hidden_act", None)  # its experts always have the clamped activation
    spec = ModelSpec(
        **sizes,
        rope=read_rope(config, sizes["head_width"]),
        attention_scale=sizes["head_width"] ** -0.5,
        windows=read_windows(
            config, sizes["num_layers"], config.take("sliding_window", None)
        ),
        experts=read_experts(config, router_bias=True),
        clamped_gate=(config.take("swiglu_limit"), config.take("swiglu_alpha")),
        sinks=True,
        qkv_bias=bias,
        out_bias=bias,
        ffn_bias=True,
    )
    config.finish()
    return spec


def _interleave(parts: Sequence[np.ndarray], spec: ModelSpec) -> np.ndarray:
    return np.stack(parts, axis=-1).reshape(*parts[0].shape[:-1], -1)


# Columns of gate and up alternate.
IN_TURN = Codec(lambda w, spec: (w[..., ::2], w[..., 1::2]), _interleave)
_LAYER, _EXPERTS = "model.layers.{}.", "layers/experts/"
RULES = (
    *gated_rules(norms=PRE_NORMS),
    Rule(f"{_LAYER}self_attn.sinks", ("layers/sinks",), KEEP),
    *dense(f"{_LAYER}mlp.router", "layers/router"),
    Rule(
        f"{_LAYER}mlp.experts.gate_up_proj",
        (f"{_EXPERTS}gate/kernel", f"{_EXPERTS}up/kernel"),
        IN_TURN,
    ),
    Rule(
        f"{_LAYER}mlp.experts.gate_up_proj_bias",
        (f"{_EXPERTS}gate/bias", f"{_EXPERTS}up/bias"),
        IN_TURN,
    ),
    Rule(f"{_LAYER}mlp.experts.down_proj", (f"{_EXPERTS}down/kernel",), KEEP),
    Rule(f"{_LAYER}mlp.experts.down_proj_bias", (f"{_EXPERTS}down/bias",), KEEP),
)
FAMILY = Family("gpt_oss", spec_from_hf, RULES, ignored=ROTARY_BUFFERS)
