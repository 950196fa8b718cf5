"""DistilBERT (arXiv 1910.01108)."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.bert import masked_head, unread
from helix_jax.models.families.common import Family, plain_parts
from helix_jax.models.rules import KEEP, Rule, dense, norm
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a distilbert config; positions are a table, however it was filled."""
    config = ConfigReader(raw)
    config.expect("is_causal", False)
    config.take("sinusoidal_pos_embds", False)
    config.take("qa_dropout", None)
    config.take("seq_classif_dropout", None)
    parts = plain_parts(
        config,
        raw,
        width="dim",
        layers="n_layers",
        heads="n_heads",
        activation="activation",
    )
    parts["head"] = "mlm" if parts["head"] == "mlm" else None
    spec = ModelSpec(
        **parts,
        ffn_width=config.take("hidden_dim"),
        max_tokens=config.take("max_position_embeddings"),
        num_positions=config.take("max_position_embeddings"),
        causal=False,
        norm_epsilon=1e-12,
        block="post_residual",
        embed_norm=True,
        qkv_bias=True,
        out_bias=True,
        ffn_bias=True,
        final_norm=False,
        tied=bool(config.take("tie_word_embeddings", True)),
        head_bias=True,
    )
    config.finish()
    return spec


_TABLE = "distilbert.embeddings."
_LAYER = "distilbert.transformer.layer.{}."
RULES = (
    Rule(f"{_TABLE}word_embeddings.weight", ("embed",), KEEP),
    Rule(f"{_TABLE}position_embeddings.weight", ("positions",), KEEP),
    *norm(f"{_TABLE}LayerNorm", "embed_norm"),
    *dense(f"{_LAYER}attention.q_lin", "layers/q"),
    *dense(f"{_LAYER}attention.k_lin", "layers/k"),
    *dense(f"{_LAYER}attention.v_lin", "layers/v"),
    *dense(f"{_LAYER}attention.out_lin", "layers/out"),
    *norm(f"{_LAYER}sa_layer_norm", "layers/attention_norm"),
    *dense(f"{_LAYER}ffn.lin1", "layers/up"),
    *dense(f"{_LAYER}ffn.lin2", "layers/down"),
    *norm(f"{_LAYER}output_layer_norm", "layers/ffn_norm"),
    *masked_head("vocab_transform", "vocab_layer_norm", "vocab_projector", None),
)
FAMILY = Family(
    "distilbert",
    spec_from_hf,
    RULES,
    prefix="distilbert.",
    ignored=(r"pre_classifier\..*", *unread("distilbert")),
    causal=False,
)
