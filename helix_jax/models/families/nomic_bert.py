"""Nomic's BERT (arXiv 2402.01613): bert with rotary positions and gated layers."""

from collections.abc import Mapping
from typing import Any

from helix_jax.errors import CheckpointError
from helix_jax.models.config import INERT, READ_ANYWAY, ConfigReader, is_defined
from helix_jax.models.families.bert import bert_spec, masked_head, unread
from helix_jax.models.families.common import Family, read_rope
from helix_jax.models.rules import KEEP, QKV_ROWS, Rule, dense, fused_dense, norm
from helix_jax.models.spec import ModelSpec

# Attributes of the published code, and what they must be: equal to an attribute of
# transformers (_RENAMED), one value (_FIXED), or anything (_FREE).
_RENAMED = {
    "n_embd": "hidden_size",
    "n_head": "num_attention_heads",
    "num_heads_kv": "num_attention_heads",
    "n_layer": "num_hidden_layers",
    "n_inner": "intermediate_size",
    "layer_norm_epsilon": "layer_norm_eps",
}
_FIXED = {
    "activation_function": "swiglu",
    "rotary_emb_fraction": 1.0,
    "scale_attn_weights": True,
    "num_experts": 0,
} | dict.fromkeys(
    """
    causal prenorm parallel_block parallel_block_tied_norm rotary_emb_interleaved
    rotary_head_dim qkv_proj_bias mlp_fc1_bias mlp_fc2_bias norm_mlp use_rms_norm
    scale_attn_by_inverse_layer_idx
    """.split(),
    False,
)
_FREE = frozenset(
    """
    n_positions max_trained_positions dense_seq_output fused_bias_fc rotary_emb_base
    fused_dropout_add_ln pad_vocab_size_multiple reorder_and_upcast_attn use_flash_attn
    use_xentropy
    """.split()
)


def check_published(raw: Mapping[str, Any], *, code: bool) -> None:
    """Refuse what the published code would do differently from transformers' class.

    Args:
      raw: the config.
      code: whether it names that code; if so, unknown attributes are refused too.

    Raises:
      CheckpointError: there is such an attribute; the message names it.
    """
    wanted = {name: raw.get(own) for name, own in _RENAMED.items()} | _FIXED
    for name, value in raw.items():
        known = name in wanted or name in INERT | _FREE | READ_ANYWAY.keys()
        known = known or name.startswith("_") or is_defined("nomic_bert", name)
        if value is None or (known and value == wanted.get(name, value)):
            continue
        if known or code:
            says = f"only {wanted[name]!r} is supported" if known else "it is not known"
            raise CheckpointError(
                f"nomic_bert: config attribute {name!r} is {value!r}; {says}, and the "
                "code that the model was published with is never run here."
            )


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a nomic_bert config, as transformers' own class computes it."""
    config = ConfigReader(raw)
    check_published(raw, code=config.expect_code("NomicBert"))
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
# Published checkpoints fuse these projections; transformers has them apart in memory,
# and they are never written so.
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
