"""MPT (MosaicML 2023): biases by distance, no bias elsewhere."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.alibi_slopes import STEEPEST, alibi_slopes
from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import OTHER_HEADS, Family, plain_parts
from helix_jax.models.families.gpt_layout import QKV
from helix_jax.models.rules import KEEP, QKV_ROWS, Rule, dense, norm
from helix_jax.models.spec import AlibiSpec, ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of an mpt config.

    Settings that the authors' code honours but transformers' does not are refused,
    since there is no reference to check them against: another scale of the biases,
    learned positions, norms of queries and keys.
    """
    config = ConfigReader(raw)
    config.expect_code("MPT")
    parts = plain_parts(
        config,
        raw,
        width="d_model",
        layers="n_layers",
        heads="n_heads",
        activation=None,
    )
    config.expect("expansion_ratio", 4)
    config.expect("no_bias", True)
    config.expect("logit_scale")
    config.expect("norm_type", "low_precision_layernorm", "layernorm")
    # For gradients and devices, and a switch that the biases by distance override.
    for name in ("embedding_fraction", "init_device", "learned_pos_emb"):
        config.take(name, None)
    attention = ConfigReader(config.take("attn_config") | {"model_type": "mpt"})
    attention.expect("attn_type", "multihead_attention")
    attention.expect("alibi", True)
    attention.expect("alibi_bias_max", STEEPEST)
    for name in ("prefix_lm", "qk_ln", "attn_uses_sequence_id"):
        attention.expect(name, False)
    parts["attention_scale"] = attention.take("softmax_scale", parts["attention_scale"])
    spec = ModelSpec(
        **parts | {"norm_bias": False},
        activation="gelu",
        ffn_width=4 * parts["width"],
        max_tokens=config.take("max_seq_len"),
        norm_epsilon=config.take("layer_norm_epsilon"),
        qkv_clip=attention.take("clip_qkv", None) or None,
        alibi=AlibiSpec(alibi_slopes(parts["num_heads"])),
        tied=bool(config.take("tie_word_embeddings", True)),
    )
    config.finish()
    return spec


_LAYER = "transformer.blocks.{}."
RULES = (
    Rule("transformer.wte.weight", ("embed",), KEEP),
    Rule(
        f"{_LAYER}attn.Wqkv.weight", tuple(f"{path}/kernel" for path in QKV), QKV_ROWS
    ),
    *dense(f"{_LAYER}attn.out_proj", "layers/out"),
    *dense(f"{_LAYER}ffn.up_proj", "layers/up"),
    *dense(f"{_LAYER}ffn.down_proj", "layers/down"),
    *norm(f"{_LAYER}norm_1", "layers/attention_norm"),
    *norm(f"{_LAYER}norm_2", "layers/ffn_norm"),
    *norm("transformer.norm_f", "final_norm"),
    *dense("lm_head", "head"),
)
FAMILY = Family("mpt", spec_from_hf, RULES, prefix="transformer.", ignored=OTHER_HEADS)
