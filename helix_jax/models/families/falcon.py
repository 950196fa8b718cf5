"""Falcon (arXiv 2311.16867): heads that share keys, parallel branches."""

from collections.abc import Mapping
from typing import Any

from helix_jax.errors import CheckpointError
from helix_jax.models.alibi_slopes import alibi_slopes
from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import (
    ROTARY_BUFFERS,
    Family,
    plain_parts,
    read_rope,
)
from helix_jax.models.families.gpt_layout import QKV
from helix_jax.models.rules import KEEP, QKV_BY_GROUP, Rule, dense, fused_dense, norm
from helix_jax.models.spec import AlibiSpec, ModelSpec


def _read_groups(config: ConfigReader, heads: int, *, new: bool) -> int:
    """The number of key-value heads: in the older architecture one, or one per head."""
    shared = config.take("multi_query", False)
    groups = config.take("num_kv_heads", heads)
    if shared and not new:
        return 1
    if heads % groups or (groups != heads and not new):
        raise CheckpointError(
            f"falcon: {heads} num_attention_heads cannot share {groups} num_kv_heads "
            f"with new_decoder_architecture {new} and multi_query {shared}."
        )
    return groups


def _read_norms(config: ConfigReader, *, new: bool) -> tuple[bool, bool]:
    """Whether branches are parallel, and whether they follow one norm."""
    parallel = config.take("parallel_attn", False)
    count = config.take("num_ln_in_parallel_attn", 2 if new else 1)
    possible = {(True, True): (1, 2), (False, True): (1,), (True, False): ()}
    if count not in possible.get((new, parallel), (count,)):
        raise CheckpointError(
            f"falcon: transformers has no forward pass for num_ln_in_parallel_attn "
            f"{count} with new_decoder_architecture {new} and parallel_attn {parallel}."
        )
    return parallel, parallel and count == 1


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a falcon config, in which a switch that is null is off."""
    config = ConfigReader(raw)
    config.expect_code("Falcon")
    parts = plain_parts(config, raw, activation="activation")
    new = config.take("new_decoder_architecture", False)
    bias = config.take("bias", False)
    if config.take("alibi", False):
        config.take("rope_parameters", None)
        slopes = alibi_slopes(parts["num_heads"])
        scale = parts["attention_scale"]
        parts["alibi"] = AlibiSpec(slopes, scale=scale, coarse=True)
    else:
        parts["rope"] = read_rope(config, parts["head_width"])
    groups = _read_groups(config, parts["num_heads"], new=new)
    parallel, shared_norm = _read_norms(config, new=new)
    spec = ModelSpec(
        **parts | {"num_kv_heads": groups},
        parallel=parallel,
        shared_norm=shared_norm,
        ffn_width=config.take("ffn_hidden_size", 4 * parts["width"]),
        max_tokens=config.take("max_position_embeddings"),
        norm_epsilon=config.take("layer_norm_epsilon"),
        qkv_bias=bias,
        out_bias=bias,
        ffn_bias=bias,
        tied=bool(config.take("tie_word_embeddings", True)),
    )
    config.finish()
    return spec


def _has_two_norms(spec: ModelSpec) -> bool:
    return spec.parallel and not spec.shared_norm


def _norm(name: str, path: str, *, two: bool) -> list[Rule]:
    """Rules of a norm with this name if parallel branches have two (`two`), or not."""
    return [
        rule._replace(when=lambda spec: _has_two_norms(spec) == two)
        for rule in norm(name, path)
    ]


_LAYER = "transformer.h.{}."
RULES = (
    Rule("transformer.word_embeddings.weight", ("embed",), KEEP),
    *fused_dense(
        f"{_LAYER}self_attention.query_key_value", QKV, QKV_BY_GROUP, QKV_BY_GROUP
    ),
    *dense(f"{_LAYER}self_attention.dense", "layers/out"),
    *dense(f"{_LAYER}mlp.dense_h_to_4h", "layers/up"),
    *dense(f"{_LAYER}mlp.dense_4h_to_h", "layers/down"),
    *_norm(f"{_LAYER}ln_attn", "layers/attention_norm", two=True),
    *_norm(f"{_LAYER}ln_mlp", "layers/ffn_norm", two=True),
    *_norm(f"{_LAYER}input_layernorm", "layers/attention_norm", two=False),
    *_norm(f"{_LAYER}post_attention_layernorm", "layers/ffn_norm", two=False),
    *norm("transformer.ln_f", "final_norm"),
    *dense("lm_head", "head"),
)
FAMILY = Family(
    "falcon", spec_from_hf, RULES, prefix="transformer.", ignored=ROTARY_BUFFERS
)
