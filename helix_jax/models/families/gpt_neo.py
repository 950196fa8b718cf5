"""GPT-Neo (Black et al. 2021): every second layer sees only a window."""

from collections.abc import Mapping
from typing import Any

from helix_jax.errors import CheckpointError
from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import OTHER_HEADS, Family, plain_parts
from helix_jax.models.rules import KEEP, Rule, dense, norm
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a gpt_neo config. Its scores are not scaled."""
    config = ConfigReader(raw)
    parts = plain_parts(
        config,
        raw,
        layers="num_layers",
        heads="num_heads",
        activation="activation_function",
    )
    kinds = [
        kind
        for group, times in config.take("attention_types")
        for kind in list(group) * times
    ]
    kinds = config.take("attention_layers", kinds)
    window = config.take("window_size")
    if len(kinds) != parts["num_layers"] or not set(kinds) <= {"global", "local"}:
        raise CheckpointError(
            f"gpt_neo: attention_types must name global or local for each of "
            f"{parts['num_layers']} layers, got {kinds}."
        )
    windows = tuple(window if kind == "local" else 0 for kind in kinds)
    spec = ModelSpec(
        **parts | {"attention_scale": 1.0},
        ffn_width=config.take("intermediate_size", 4 * parts["width"]),
        max_tokens=config.take("max_position_embeddings"),
        num_positions=config.take("max_position_embeddings"),
        norm_epsilon=config.take("layer_norm_epsilon"),
        windows=windows if "local" in kinds else None,
        out_bias=True,
        ffn_bias=True,
        tied=bool(config.take("tie_word_embeddings", True)),
    )
    config.finish()
    return spec


_LAYER = "transformer.h.{}."
_ATTENTION = f"{_LAYER}attn.attention."
RULES = (
    Rule("transformer.wte.weight", ("embed",), KEEP),
    Rule("transformer.wpe.weight", ("positions",), KEEP),
    *dense(f"{_ATTENTION}q_proj", "layers/q"),
    *dense(f"{_ATTENTION}k_proj", "layers/k"),
    *dense(f"{_ATTENTION}v_proj", "layers/v"),
    *dense(f"{_ATTENTION}out_proj", "layers/out"),
    *dense(f"{_LAYER}mlp.c_fc", "layers/up"),
    *dense(f"{_LAYER}mlp.c_proj", "layers/down"),
    *norm(f"{_LAYER}ln_1", "layers/attention_norm"),
    *norm(f"{_LAYER}ln_2", "layers/ffn_norm"),
    *norm("transformer.ln_f", "final_norm"),
    *dense("lm_head", "head"),
)
FAMILY = Family(
    "gpt_neo",
    spec_from_hf,
    RULES,
    prefix="transformer.",
    ignored=(r".*\.attn\.attention\.(bias|masked_bias)", *OTHER_HEADS),
)
