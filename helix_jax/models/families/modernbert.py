"""ModernBERT (arXiv 2412.13663)."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.bert import masked_head
from helix_jax.models.families.by_layer import read_windows, rope_of_kind
from helix_jax.models.families.common import (
    OTHER_HEADS,
    Family,
    plain_parts,
    read_activation,
)
from helix_jax.models.rules import (
    GATE_UP_ROWS,
    KEEP,
    QKV_ROWS,
    Rule,
    dense,
    fused_dense,
    norm,
)
from helix_jax.models.spec import ModelSpec

_TRAINING = """
    initializer_cutoff_factor embedding_dropout mlp_dropout deterministic_flash_attn
    sparse_prediction sparse_pred_ignore_index classifier_pooling cls_token_id
    sep_token_id reference_compile repad_logits_with_grad
""".split()


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a modernbert config: windows in both directions."""
    config = ConfigReader(raw)
    config.expect("is_causal", False)
    for name in _TRAINING:
        config.take(name, None)
    parts = plain_parts(config, raw, activation="hidden_activation")
    config.expect("head_dim", parts["head_width"])
    reach = config.take("local_attention")
    config.expect("sliding_window", reach // 2)
    bias, ffn_bias = config.take("attention_bias"), config.take("mlp_bias")
    windows = read_windows(config, parts["num_layers"], reach // 2 + 1)
    width, positions = parts["head_width"], config.take("max_position_embeddings")
    parts |= {
        "gated": True,
        "norm_bias": config.take("norm_bias"),
        "head": "mlm" if parts["head"] == "mlm" else None,
    }
    spec = ModelSpec(
        **parts,
        ffn_width=config.take("intermediate_size"),
        max_tokens=positions,
        causal=False,
        norm_epsilon=config.take("norm_eps"),
        first_norm=False,
        embed_norm=True,
        rope=rope_of_kind(config, "full_attention", width, positions),
        local_rope=rope_of_kind(config, "sliding_attention", width, positions)
        if windows
        else None,
        windows=windows,
        qkv_bias=bias,
        out_bias=bias,
        ffn_bias=ffn_bias,
        tied=bool(config.take("tie_word_embeddings", True)),
        head_bias=config.take("decoder_bias"),
        head_activation=read_activation(config, "classifier_activation"),
        head_transform_bias=config.take("classifier_bias"),
    )
    config.finish()
    return spec


_LAYER = "model.layers.{}."
_QKV, _GATE_UP = ("layers/q", "layers/k", "layers/v"), ("layers/gate", "layers/up")
RULES = (
    Rule("model.embeddings.tok_embeddings.weight", ("embed",), KEEP),
    *norm("model.embeddings.norm", "embed_norm"),
    *norm(f"{_LAYER}attn_norm", "layers/attention_norm"),
    *fused_dense(f"{_LAYER}attn.Wqkv", _QKV, QKV_ROWS, QKV_ROWS),
    *dense(f"{_LAYER}attn.Wo", "layers/out"),
    *norm(f"{_LAYER}mlp_norm", "layers/ffn_norm"),
    *fused_dense(f"{_LAYER}mlp.Wi", _GATE_UP, GATE_UP_ROWS, GATE_UP_ROWS),
    *dense(f"{_LAYER}mlp.Wo", "layers/down"),
    *norm("model.final_norm", "final_norm"),
    *masked_head("head.dense", "head.norm", "decoder", None),
)
FAMILY = Family(
    "modernbert",
    spec_from_hf,
    RULES,
    # A classifier's head is built like that of the masked model.
    ignored=(r".*inv_freq", *OTHER_HEADS),
    causal=False,
)
