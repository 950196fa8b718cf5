"""BioGPT (Luo et al. 2022, arXiv 2210.10341): opt with scaled embeddings."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import OTHER_HEADS, Family, plain_parts
from helix_jax.models.families.gpt_layout import opt_rules
from helix_jax.models.families.opt import POSITION_OFFSET
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a biogpt config. Its norms have torch's default epsilon."""
    config = ConfigReader(raw)
    parts = plain_parts(config, raw)
    config.take("layer_norm_eps", None)  # transformers never reads it
    spec = ModelSpec(
        **parts,
        ffn_width=config.take("intermediate_size"),
        max_tokens=config.take("max_position_embeddings"),
        num_positions=config.take("max_position_embeddings") + POSITION_OFFSET,
        position_offset=POSITION_OFFSET,
        norm_epsilon=1e-5,
        embed_scale=parts["width"] ** 0.5
        if config.take("scale_embedding", True)
        else None,
        qkv_bias=True,
        out_bias=True,
        ffn_bias=True,
        tied=bool(config.take("tie_word_embeddings", True)),
    )
    config.finish()
    return spec


FAMILY = Family(
    "biogpt",
    spec_from_hf,
    opt_rules("biogpt.", final="layer_norm", head="output_projection"),
    prefix="biogpt.",
    ignored=OTHER_HEADS,
)
