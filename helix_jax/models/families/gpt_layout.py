"""Names of sizes and tensors in gpt2, opt and their relatives."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import plain_parts
from helix_jax.models.rules import (
    KEEP,
    TRANSPOSE,
    Codec,
    Rule,
    dense,
    fused_dense,
    norm,
)

QKV = ("layers/q", "layers/k", "layers/v")


def gpt_parts(
    config: ConfigReader,
    raw: Mapping[str, Any],
    *,
    activation: str = "activation_function",
) -> dict[str, Any]:
    """Sizes that gpt2 and its relatives give under the same names.

    Args:
      config, raw: the config.
      activation: what the family calls this attribute.
    """
    parts = plain_parts(
        config,
        raw,
        width="n_embd",
        layers="n_layer",
        heads="n_head",
        activation=activation,
    )
    return parts | {
        "ffn_width": config.take("n_inner", 4 * parts["width"]),
        "max_tokens": config.take("n_positions"),
        "norm_epsilon": config.take("layer_norm_epsilon"),
        "tied": bool(config.take("tie_word_embeddings", True)),
    }


def gpt_rules(qkv: Codec, kernel: Codec = TRANSPOSE) -> tuple[Rule, ...]:
    """Rules of gpt2 and its close relatives.

    Args:
      qkv: how queries, keys and values are arranged in one tensor.
      kernel: how the other kernels are stored.
    """
    layer = "transformer.h.{}."
    return (
        Rule("transformer.wte.weight", ("embed",), KEEP),
        Rule("transformer.wpe.weight", ("positions",), KEEP),
        *fused_dense(f"{layer}attn.c_attn", QKV, qkv, qkv),
        *dense(f"{layer}attn.c_proj", "layers/out", kernel),
        *dense(f"{layer}mlp.c_fc", "layers/up", kernel),
        *dense(f"{layer}mlp.c_proj", "layers/down", kernel),
        *norm(f"{layer}ln_1", "layers/attention_norm"),
        *norm(f"{layer}ln_2", "layers/ffn_norm"),
        *norm("transformer.ln_f", "final_norm"),
        *dense("lm_head", "head"),
    )


def opt_rules(base: str, *, final: str, head: str) -> tuple[Rule, ...]:
    """Rules of opt and its relatives.

    Args:
      base: prefix of the decoder's names.
      final, head: names of the final norm, within the decoder, and of the head.
    """
    layer = f"{base}layers.{{}}."
    return (
        Rule(f"{base}embed_tokens.weight", ("embed",), KEEP),
        Rule(f"{base}embed_positions.weight", ("positions",), KEEP),
        *dense(f"{layer}self_attn.q_proj", "layers/q"),
        *dense(f"{layer}self_attn.k_proj", "layers/k"),
        *dense(f"{layer}self_attn.v_proj", "layers/v"),
        *dense(f"{layer}self_attn.out_proj", "layers/out"),
        *dense(f"{layer}fc1", "layers/up"),
        *dense(f"{layer}fc2", "layers/down"),
        *norm(f"{layer}self_attn_layer_norm", "layers/attention_norm"),
        *norm(f"{layer}final_layer_norm", "layers/ffn_norm"),
        *norm(f"{base}{final}", "final_norm"),
        *dense(head, "head"),
    )
