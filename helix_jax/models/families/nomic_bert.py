"""Nomic's BERT (arXiv 2402.01613): bert with rotary positions and gated layers."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.bert import bert_spec, masked_head, unread
from helix_jax.models.families.common import Family, read_rope
from helix_jax.models.rules import KEEP, QKV_ROWS, Rule, dense, fused_dense, norm
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a nomic_bert config, as transformers has it without other code."""
    config = ConfigReader(raw)
    heads = config.take("num_attention_heads")
    head_width = config.take("head_dim", None) or config.take("hidden_size") // heads
    return bert_spec(
        config,
        raw,
        head_width=head_width,
        attention_scale=head_width**-0.5,
        rope=read_rope(config, head_width),
        num_positions=0,
        gated=True,
        qkv_bias=False,
        out_bias=False,
        ffn_bias=False,
    )


_BASE = "nomic_bert."
_LAYER = f"{_BASE}encoder.layers.{{}}."
# As published, heads side by side; apart within transformers, and never written so.
_APART = [
    rule._replace(when=lambda spec: False)
    for name in "qkv"
    for rule in dense(f"{_LAYER}attn.{name}_proj", f"layers/{name}")
]
_QKV = ("layers/q", "layers/k", "layers/v")
RULES = (
    Rule(f"{_BASE}embeddings.word_embeddings.weight", ("embed",), KEEP),
    Rule(f"{_BASE}embeddings.token_type_embeddings.weight", ("token_types",), KEEP),
    *norm(f"{_BASE}emb_ln", "embed_norm"),
    *fused_dense(f"{_LAYER}attn.Wqkv", _QKV, QKV_ROWS, QKV_ROWS),
    *_APART,
    *dense(f"{_LAYER}attn.out_proj", "layers/out"),
    *norm(f"{_LAYER}norm1", "layers/attention_norm"),
    *dense(f"{_LAYER}mlp.fc12", "layers/gate"),
    *dense(f"{_LAYER}mlp.fc11", "layers/up"),
    *dense(f"{_LAYER}mlp.fc2", "layers/down"),
    *norm(f"{_LAYER}norm2", "layers/ffn_norm"),
    *masked_head(
        "cls.predictions.transform.dense",
        "cls.predictions.transform.layer_norm",
        "cls.predictions.decoder",
        "cls.predictions.bias",
    ),
)
FAMILY = Family(
    "nomic_bert",
    spec_from_hf,
    RULES,
    prefix=_BASE,
    ignored=unread("nomic_bert"),
    # Names within transformers -> published ones.
    renamed=(
        (r"(?<!encoder\.)\blayers\.", "encoder.layers."),
        (r"\bembeddings\.LayerNorm\.", "emb_ln."),
        (r"\bself_attn\.o_proj\.", "attn.out_proj."),
        (r"\bself_attn\.", "attn."),
        (r"\bup_proj\.", "fc11."),
        (r"\bgate_proj\.", "fc12."),
        (r"\bdown_proj\.", "fc2."),
        (r"\bpost_attention_layernorm\.", "norm1."),
        (r"\bpost_mlp_layernorm\.", "norm2."),
    ),
    causal=False,
)
