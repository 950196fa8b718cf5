"""Llama 1 to 3 (arXiv 2302.13971, 2307.09288, 2407.21783), and models run as llama.

transformers runs InternLM3 (Shanghai AI Laboratory 2025) and IQuest-Coder (2026) with
llama's own classes.
"""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import ROTARY_BUFFERS, Family, gated_parts
from helix_jax.models.families.layout import PRE_NORMS, gated_rules
from helix_jax.models.spec import ModelSpec

# Model type -> the beginning of its authors' class names.
BORROWERS = {"internlm3": "InternLM3", "iquestcoder": "IQuestCoder"}


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a llama, internlm3 or iquestcoder config."""
    config = ConfigReader(raw)
    bias = config.take("attention_bias", False)
    config.expect("rope_interleaved", False)  # SmolLM names it
    if config.family in BORROWERS:
        config.expect_code(BORROWERS[config.family])
    spec = ModelSpec(
        **gated_parts(config, raw),
        qkv_bias=bias,
        out_bias=bias,
        ffn_bias=config.take("mlp_bias", False),
    )
    config.finish()
    return spec


LLAMA, INTERNLM3, IQUESTCODER = (
    Family(name, spec_from_hf, gated_rules(norms=PRE_NORMS), ignored=ROTARY_BUFFERS)
    for name in ("llama", *BORROWERS)
)
