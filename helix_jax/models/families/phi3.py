"""Phi-3 and Phi-4 mini (arXiv 2404.14219): llama with fused projections."""

from collections.abc import Mapping
from typing import Any

from helix_jax.errors import CheckpointError
from helix_jax.models.config import ADVICE, OTHER_CODE, ConfigReader
from helix_jax.models.families.common import (
    PRE_NORMS,
    ROTARY_BUFFERS,
    Family,
    gated_parts,
)
from helix_jax.models.rules import GATE_UP_ROWS, KEEP, QKV_ROWS, Rule, dense, norm
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a phi3 config."""
    config = ConfigReader(raw)
    parts = gated_parts(config, raw, partial=True)
    window = config.take("sliding_window", None)
    for bias in ("attention_bias", "mlp_bias", "lm_head_bias"):
        config.expect(bias, False)
    for factor in ("full_attn_mod", "interpolate_factor"):  # Phi-4 mini names them
        config.expect(factor, 1)
    # transformers has put it into rope_parameters where the type needs it
    config.take("original_max_position_embeddings", None)
    _check_code(config)
    spec = ModelSpec(
        **parts, windows=(window,) * parts["num_layers"] if window else None
    )
    config.finish()
    return spec


def _check_code(config: ConfigReader) -> None:
    """Refuse code beside the weights, unless it is what became transformers' own."""
    own = {"Phi3Config", "Phi3Model", "Phi3ForCausalLM"}
    code = config.take("auto_map", {})
    if not isinstance(code, Mapping):
        code = {"auto_map": code}
    foreign = {
        key: name
        for key, name in code.items()
        if key not in OTHER_CODE and str(name).rsplit(".", 1)[-1] not in own
    }
    if foreign:
        raise CheckpointError(
            f"phi3: config attribute 'auto_map' is {foreign}: "
            f"{ADVICE['auto_map'].format(family='phi3')}."
        )


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
