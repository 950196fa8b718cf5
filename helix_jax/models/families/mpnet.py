"""MPNet (arXiv 2004.09297)."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.bert import bert_spec, unread
from helix_jax.models.families.common import Family
from helix_jax.models.families.roberta import ROBERTA_HEAD
from helix_jax.models.rules import KEEP, Rule, dense, norm
from helix_jax.models.spec import ModelSpec, RelativeBias

_PADDING = 1  # fixed in its code, whatever the config's pad_token_id
_BIAS = RelativeBias(buckets=32, max_distance=128)  # likewise


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of an mpnet config: learned positions and a relative bias."""
    config = ConfigReader(raw)
    config.expect("relative_attention_num_buckets", _BIAS.buckets)
    return bert_spec(
        config,
        raw,
        position_offset=_PADDING + 1,
        uncounted_token=_PADDING,
        relative_bias=_BIAS,
        head_activation="gelu",
    )


_LAYER = "mpnet.encoder.layer.{}."
RULES = (
    Rule("mpnet.embeddings.word_embeddings.weight", ("embed",), KEEP),
    Rule("mpnet.embeddings.position_embeddings.weight", ("positions",), KEEP),
    *norm("mpnet.embeddings.LayerNorm", "embed_norm"),
    Rule("mpnet.encoder.relative_attention_bias.weight", ("relative_bias",), KEEP),
    *dense(f"{_LAYER}attention.attn.q", "layers/q"),
    *dense(f"{_LAYER}attention.attn.k", "layers/k"),
    *dense(f"{_LAYER}attention.attn.v", "layers/v"),
    *dense(f"{_LAYER}attention.attn.o", "layers/out"),
    *norm(f"{_LAYER}attention.LayerNorm", "layers/attention_norm"),
    *dense(f"{_LAYER}intermediate.dense", "layers/up"),
    *dense(f"{_LAYER}output.dense", "layers/down"),
    *norm(f"{_LAYER}output.LayerNorm", "layers/ffn_norm"),
    *ROBERTA_HEAD,
)
FAMILY = Family(
    "mpnet", spec_from_hf, RULES, prefix="mpnet.", ignored=unread("mpnet"), causal=False
)
