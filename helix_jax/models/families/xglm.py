"""XGLM (Lin et al. 2021, arXiv 2112.10668): opt with sinusoidal positions."""

from collections.abc import Mapping
from typing import Any

from helix_jax.errors import CheckpointError
from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import OTHER_HEADS, Family, plain_parts
from helix_jax.models.families.gpt_layout import opt_rules
from helix_jax.models.families.opt import POSITION_OFFSET
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of an xglm config. Its norms have torch's default epsilon.

    Raises:
      CheckpointError: also for a padding id that would blank out a token's position, or
        a width that sines and cosines cannot share.
    """
    config = ConfigReader(raw)
    padding = raw.get("pad_token_id")
    if padding is not None and padding >= POSITION_OFFSET:
        raise CheckpointError(
            f"xglm: config attribute 'pad_token_id' is {padding}; transformers then "
            f"has no position {padding - POSITION_OFFSET}. Expected 0, 1 or None."
        )
    parts = plain_parts(
        config,
        raw,
        width="d_model",
        layers="num_layers",
        heads="attention_heads",
        activation="activation_function",
    )
    width = parts["width"]
    if width % 2 or width <= 2:
        raise CheckpointError(
            f"xglm: config attribute 'd_model' is {width}; expected an even number "
            "above 2."
        )
    config.expect("add_cross_attention", False)
    config.take("decoder_start_token_id", None)
    spec = ModelSpec(
        **parts,
        ffn_width=config.take("ffn_dim"),
        max_tokens=config.take("max_position_embeddings"),
        position_offset=POSITION_OFFSET,
        sinusoids=True,
        norm_epsilon=1e-5,
        embed_scale=width**0.5 if config.take("scale_embedding", True) else None,
        qkv_bias=True,
        out_bias=True,
        ffn_bias=True,
        tied=bool(config.take("tie_word_embeddings", True)),
    )
    config.finish()
    return spec


FAMILY = Family(
    "xglm",
    spec_from_hf,
    opt_rules("model.", final="layer_norm", head="lm_head"),
    ignored=(r"model\.embed_positions\.weights", *OTHER_HEADS),
)
