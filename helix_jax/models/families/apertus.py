"""Apertus (arXiv 2509.14233): no gate, an activation with learned parameters."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import (
    ROTARY_BUFFERS,
    Family,
    gated_sizes,
    read_activation,
    read_rope,
)
from helix_jax.models.families.layout import gated_rules
from helix_jax.models.rules import KEEP, Codec, Rule
from helix_jax.models.spec import XIELU, ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of an apertus config."""
    config = ConfigReader(raw)
    sizes = gated_sizes(config, raw)
    bias = config.take("attention_bias", False)
    learned = config.take("hidden_act") == "xielu"
    spec = ModelSpec(
        **sizes,
        activation="xielu" if learned else read_activation(config, "hidden_act"),
        gated=False,
        rope=read_rope(config, sizes["head_width"]),
        attention_scale=sizes["head_width"] ** -0.5,
        qk_norm="head",
        qkv_bias=bias,
        out_bias=bias,
    )
    config.finish()
    return spec


# Parameters of the activation are [1] in checkpoints, its constants [].
_SCALAR = Codec(lambda w, spec: (w[None],), lambda parts, spec: parts[0][0])
_ACTIVATION = tuple(
    Rule(
        f"model.layers.{{}}.mlp.act_fn.{name}",
        (f"layers/activation/{name}",),
        KEEP if name.startswith("alpha") else _SCALAR,
    )
    for name in XIELU
)
FAMILY = Family(
    "apertus",
    spec_from_hf,
    gated_rules(
        norms={
            "attention_layernorm": "attention_norm",
            "feedforward_layernorm": "ffn_norm",
        }
    )
    + _ACTIVATION,
    ignored=ROTARY_BUFFERS,
)
