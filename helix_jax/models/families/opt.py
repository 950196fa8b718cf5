"""OPT (Zhang et al. 2022, arXiv 2205.01068)."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import OTHER_HEADS, Family, plain_parts
from helix_jax.models.families.gpt_layout import opt_rules
from helix_jax.models.rules import dense
from helix_jax.models.spec import ModelSpec

POSITION_OFFSET = 2  # the first two rows of the position table are never used


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of an opt config; the 350M model has a norm after each residual."""
    config = ConfigReader(raw)
    parts = plain_parts(config, raw, activation="activation_function")
    before = config.take("do_layer_norm_before", True)
    embed_width = config.take("word_embed_proj_dim", parts["width"])
    config.expect("layer_norm_elementwise_affine", True)
    bias = config.take("enable_bias", True)
    removed = config.take("_remove_final_layer_norm", False)
    spec = ModelSpec(
        **parts,
        ffn_width=config.take("ffn_dim"),
        max_tokens=config.take("max_position_embeddings"),
        num_positions=config.take("max_position_embeddings") + POSITION_OFFSET,
        position_offset=POSITION_OFFSET,
        norm_epsilon=1e-5,
        block="pre" if before else "post_residual",
        embed_width=embed_width if embed_width != parts["width"] else None,
        qkv_bias=bias,
        out_bias=bias,
        ffn_bias=bias,
        final_norm=before and not removed,
        tied=bool(config.take("tie_word_embeddings", True)),
    )
    config.finish()
    return spec


_DECODER = "model.decoder."
RULES = (
    *opt_rules(_DECODER, final="final_layer_norm", head="lm_head"),
    *dense(f"{_DECODER}project_in", "embed_in"),
    *dense(f"{_DECODER}project_out", "embed_out"),
)
FAMILY = Family("opt", spec_from_hf, RULES, ignored=OTHER_HEADS)
