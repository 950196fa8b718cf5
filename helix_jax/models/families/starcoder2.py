"""StarCoder2 (arXiv 2402.19173): rotary, layer norms, no gate, a window."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.by_layer import equal_windows
from helix_jax.models.families.common import ROTARY_BUFFERS, Family, gated_parts
from helix_jax.models.families.layout import LAYER, PRE_NORMS, gated_rules
from helix_jax.models.rules import dense
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a starcoder2 config."""
    config = ConfigReader(raw)
    bias = config.take("use_bias", True)
    spec = ModelSpec(
        **gated_parts(config, raw, epsilon="norm_epsilon"),
        norm="layer",
        norm_bias=True,
        gated=False,
        windows=equal_windows(config),
        qkv_bias=bias,
        out_bias=bias,
        ffn_bias=bias,
    )
    config.finish()
    return spec


_FFN = (
    *dense(f"{LAYER}mlp.c_fc", "layers/up"),
    *dense(f"{LAYER}mlp.c_proj", "layers/down"),
)
FAMILY = Family(
    "starcoder2",
    spec_from_hf,
    gated_rules(norms=PRE_NORMS, ffn=_FFN),
    ignored=ROTARY_BUFFERS,
)
